//! One subscriber's server-sent events, as a response body that hyper pulls from.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, interval_at};

use crate::channel::Subscription;
use crate::limits;

/// At once, so that a subscriber knows that it is counted in; and how soon a browser comes back.
const WELCOME: Bytes = Bytes::from_static(b": subscribed\nretry: 1000\n\n");
const HEARTBEAT: Bytes = Bytes::from_static(b": still here\n\n");
const STOPPING: Bytes = Bytes::from_static(b": the broker is stopping\n\n");
const TOO_SLOW: Bytes =
    Bytes::from_static(b": too slow, messages were left out; come back with Last-Event-ID\n\n");

pub(crate) struct EventStream {
    replay: VecDeque<Bytes>,
    live: mpsc::Receiver<Bytes>,
    heartbeat: Interval,
    ended: bool,
    subscription: Subscription,
}

impl EventStream {
    pub(crate) fn new(
        mut replay: VecDeque<Bytes>,
        live: mpsc::Receiver<Bytes>,
        subscription: Subscription,
    ) -> Self {
        replay.push_front(WELCOME);
        let heartbeat = interval_at(Instant::now() + limits::HEARTBEAT, limits::HEARTBEAT);
        Self {
            replay,
            live,
            heartbeat,
            ended: false,
            subscription,
        }
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(event) = self.replay.pop_front() {
            return Poll::Ready(Some(event));
        }
        match self.live.poll_recv(context) {
            Poll::Ready(Some(event)) => return Poll::Ready(Some(event)),
            // The channel has let go of our queue: the last word is why.
            Poll::Ready(None) if self.ended => return Poll::Ready(None),
            Poll::Ready(None) => {
                self.ended = true;
                let stopping = self.subscription.channel_is_closed();
                return Poll::Ready(Some(if stopping { STOPPING } else { TOO_SLOW }));
            }
            Poll::Pending => {}
        }
        self.heartbeat.poll_tick(context).map(|_| Some(HEARTBEAT))
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut()
            .poll_event(context)
            .map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
