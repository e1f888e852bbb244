//! A connection's socket, with a deadline for each thing that its client may take its time over.
//!
//! hyper has a timeout for a request's headers, and it runs between requests too; it has none for a
//! client that does not read. So the deadlines are kept here, where all waiting is done: a read
//! or a write that has to wait also waits for its deadline. Past it, the read or write fails, and
//! hyper lets the connection go.
//!
//! A deadline is for the whole of a thing, not for each of its bytes: a byte a second moves none.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::serve::limits::Limits;
use crate::serve::stats::{CloseReason, Stats};

pub(super) struct Paced {
    stream: TokioIo<TcpStream>,
    limits: Limits,
    stats: Arc<Stats>,
    answering: Answering,
    client: Client,
    /// Since when written bytes have been waiting for the client to take them.
    blocked: Option<Instant>,
    /// Whether bytes were written since the last flush that came to its end.
    unflushed: bool,
    /// One timer for all deadlines: what waits does so for one of them at a time.
    timer: Pin<Box<Sleep>>,
}

/// What the client is about, and since when, while no request of its is being answered.
#[derive(Clone, Copy)]
enum Client {
    /// Sends the headers of a request; or the connection is new.
    Sends(Instant),
    /// Has its answer.
    Idles(Instant),
}

/// Whether a request is being answered: then the client has nothing to send, and all the time in
/// the world. Set by the service, which runs in the same task as the socket.
#[derive(Clone, Default)]
pub(super) struct Answering(Arc<AtomicBool>);

pub(super) struct Answered(Answering);

impl Answering {
    /// From now on, until what this returns is dropped.
    pub(super) fn begin(&self) -> Answered {
        // Relaxed, here and below: one task writes and reads it.
        self.0.store(true, Relaxed);
        Answered(self.clone())
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.0.store(false, Relaxed);
    }
}

impl Paced {
    pub(super) fn new(
        stream: TcpStream,
        limits: Limits,
        stats: Arc<Stats>,
        answering: Answering,
    ) -> Self {
        let now = Instant::now();
        Self {
            stream: TokioIo::new(stream),
            limits,
            stats,
            answering,
            client: Client::Sends(now),
            blocked: None,
            unflushed: false,
            timer: Box::pin(sleep_until(now)),
        }
    }

    /// Waits for a deadline, beside what else is waited for.
    fn wait<T>(
        &mut self,
        context: &mut Context<'_>,
        deadline: Option<Instant>,
        late: Option<CloseReason>,
    ) -> Poll<io::Result<T>> {
        // So far off that there is no such time: for ever.
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        ready!(self.timer.as_mut().poll(context));
        if let Some(late) = late {
            self.stats.closed(late);
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn wait_to_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed || self.answering.0.load(Relaxed) {
            return Poll::Pending;
        }
        match self.client {
            Client::Sends(since) => {
                let deadline = since.checked_add(self.limits.header_timeout);
                self.wait(context, deadline, Some(CloseReason::HeaderTimeout))
            }
            Client::Idles(since) => {
                let deadline = since.checked_add(self.limits.idle_timeout);
                self.wait(context, deadline, None)
            }
        }
    }

    fn wait_to_write<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let since = *self.blocked.get_or_insert_with(Instant::now);
        let deadline = since.checked_add(self.limits.write_timeout);
        self.wait(context, deadline, Some(CloseReason::WriteTimeout))
    }

    fn written(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.unflushed = true;
        match written {
            Poll::Pending => self.wait_to_write(context),
            ready @ Poll::Ready(_) => ready,
        }
    }
}

impl Read for Paced {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Pending => this.wait_to_read(context),
            ready @ Poll::Ready(_) => {
                if let Client::Idles(_) = this.client {
                    this.client = Client::Sends(Instant::now());
                }
                ready
            }
        }
    }
}

impl Write for Paced {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.written(context, written)
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
        this.written(context, written)
    }

    /// hyper flushes when all is written, so the client has taken all that there was.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(context))?;
        if this.unflushed {
            this.unflushed = false;
            this.blocked = None;
            this.client = Client::Idles(Instant::now());
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
