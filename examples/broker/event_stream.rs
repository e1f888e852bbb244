//! The server-sent events of one subscriber, as a response body.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Interval, interval_at};

use crate::channel::Subscription;
use crate::limits;

/// Sent at once, so that the client knows that it is subscribed. `retry` is the reconnection delay of a browser, in
/// milliseconds.
const SUBSCRIBED: Bytes = Bytes::from_static(b": subscribed\nretry: 1000\n\n");
const HEARTBEAT: Bytes = Bytes::from_static(b": heartbeat\n\n");
const SHUTTING_DOWN: Bytes = Bytes::from_static(b": the broker is shutting down\n\n");
const QUEUE_FULL: Bytes =
    Bytes::from_static(b": too slow, messages were dropped: reconnect with Last-Event-ID to resume\n\n");

pub(crate) struct EventStream {
    subscription: Subscription,
    heartbeat: Interval,
    ended: bool,
}

impl EventStream {
    pub(crate) fn new(mut subscription: Subscription) -> Self {
        subscription.replay.push_front(SUBSCRIBED);
        let first_heartbeat = Instant::now() + limits::HEARTBEAT_INTERVAL;
        Self { subscription, heartbeat: interval_at(first_heartbeat, limits::HEARTBEAT_INTERVAL), ended: false }
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(event) = self.subscription.replay.pop_front() {
            return Poll::Ready(Some(event));
        }
        match self.subscription.live.poll_recv(context) {
            Poll::Ready(Some(event)) => return Poll::Ready(Some(event)),
            // The channel has dropped the queue. The last comment states the reason.
            Poll::Ready(None) if self.ended => return Poll::Ready(None),
            Poll::Ready(None) => {
                self.ended = true;
                let closed = self.subscription.channel_is_closed();
                return Poll::Ready(Some(if closed { SHUTTING_DOWN } else { QUEUE_FULL }));
            }
            Poll::Pending => {}
        }
        self.heartbeat.poll_tick(context).map(|_| Some(HEARTBEAT))
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().poll_event(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
