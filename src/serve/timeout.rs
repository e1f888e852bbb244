//! A socket with deadlines for a client that is slow to send, slow to read, or idle.
//!
//! A deadline covers a whole request head or response: single bytes do not extend it. When it has passed, the pending
//! read or write fails with [`io::ErrorKind::TimedOut`], and hyper closes the connection.
//!
//! Considered: hyper's `header_read_timeout` also runs between requests, so it cannot be shorter than the idle
//! timeout, and hyper has no write timeout; `tokio-io-timeout` restarts with each byte and runs during a request;
//! tower-http's `TimeoutLayer` covers the service, not the socket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::serve::options::ServeOptions;
use crate::serve::stats::{CloseReason, Stats};

/// A TCP stream that applies `header_read_timeout`, `idle_timeout` and `write_timeout`.
pub(super) struct TimeoutStream {
    stream: TokioIo<TcpStream>,
    options: ServeOptions,
    stats: Arc<Stats>,
    /// Whether a request is in flight, which suspends the read deadline. Relaxed: the service runs in the same task.
    in_flight: Arc<AtomicBool>,
    /// Whether the stream waits for the first byte of another request.
    is_idle: bool,
    read_deadline: Instant,
    /// Set by the first write of a response that has to wait.
    write_deadline: Option<Instant>,
    has_unflushed: bool,
    /// Serves both deadlines: the read deadline is suspended while a response is written.
    timer: Pin<Box<Sleep>>,
}

impl TimeoutStream {
    pub(super) fn new(stream: TcpStream, options: ServeOptions, stats: Arc<Stats>, in_flight: Arc<AtomicBool>) -> Self {
        let read_deadline = deadline(options.header_read_timeout);
        Self {
            stream: TokioIo::new(stream),
            options,
            stats,
            in_flight,
            is_idle: false,
            read_deadline,
            write_deadline: None,
            has_unflushed: false,
            timer: Box::pin(sleep_until(read_deadline)),
        }
    }

    fn poll_read_deadline(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_unflushed || self.in_flight.load(Relaxed) {
            return Poll::Pending;
        }
        ready!(self.poll_timer(context, self.read_deadline));
        if !self.is_idle {
            self.stats.closed(CloseReason::HeaderTimeout);
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_write_deadline<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let timeout = self.options.write_timeout;
        let deadline = *self.write_deadline.get_or_insert_with(|| deadline(timeout));
        ready!(self.poll_timer(context, deadline));
        self.stats.closed(CloseReason::WriteTimeout);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_timer(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        self.timer.as_mut().poll(context)
    }

    fn poll_written(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.has_unflushed = true;
        if written.is_pending() { self.poll_write_deadline(context) } else { written }
    }
}

/// The time at which `timeout` has passed. Every option is at most a day.
pub(super) fn deadline(timeout: Duration) -> Instant {
    Instant::now() + timeout
}

impl Read for TimeoutStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if read.is_pending() {
            return this.poll_read_deadline(context);
        }
        if this.is_idle {
            this.is_idle = false;
            this.read_deadline = deadline(this.options.header_read_timeout);
        }
        read
    }
}

impl Write for TimeoutStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.poll_written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.poll_written(context, written)
    }

    /// Ends a response: hyper flushes once the socket has taken all of it.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(context))?;
        if this.has_unflushed {
            this.has_unflushed = false;
            this.write_deadline = None;
            this.is_idle = true;
            this.read_deadline = deadline(this.options.idle_timeout);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
