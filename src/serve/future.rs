//! The future of a response. It needs no particular runtime.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use tokio::sync::oneshot;

use crate::serve::response::{self, Response};

/// A response that is ready, or that the collector thread sends.
#[derive(Debug)]
pub(super) enum PendingResponse {
    Ready(Option<Response>),
    Collecting(oneshot::Receiver<Response>),
}

impl PendingResponse {
    pub(super) fn ready(response: Response) -> Self {
        Self::Ready(Some(response))
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    /// Blocks the calling thread until the response is there.
    pub(super) fn wait(mut self) -> Response {
        struct Unpark(thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(response) = Pin::new(&mut self).poll(&mut context) {
                return response;
            }
            thread::park();
        }
    }
}

impl Future for PendingResponse {
    type Output = Response;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        match self.get_mut() {
            Self::Ready(response) => Poll::Ready(response.take().expect("not polled after completion")),
            // The sender is dropped without a response if the collector thread panicked.
            Self::Collecting(response) => {
                Pin::new(response).poll(context).map(|response| response.unwrap_or_else(|_| response::internal_error()))
            }
        }
    }
}

/// The response of a [`Handler`](crate::Handler), once there is a snapshot.
#[derive(Debug)]
pub struct ResponseFuture(pub(super) PendingResponse);

impl Future for ResponseFuture {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(Ok)
    }
}
