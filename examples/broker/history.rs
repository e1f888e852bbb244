//! The last messages of one channel, ready to be sent again.
//!
//! Ids are given here, ascending by one, so a subscriber that sees a jump knows how many messages
//! it has missed.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::limits;

pub(crate) struct History {
    most: usize,
    last_id: u64,
    bytes: usize,
    messages: VecDeque<Message>,
}

#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) id: u64,
    /// The whole event as it goes over the wire: written once, and shared by all who send it.
    pub(crate) event: Bytes,
}

impl History {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            last_id: 0,
            bytes: 0,
            messages: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, aspect: &str, payload: &str) -> Message {
        self.last_id += 1;
        let message = Message {
            id: self.last_id,
            event: event(self.last_id, aspect, payload),
        };
        self.bytes += message.event.len();
        self.messages.push_back(message.clone());
        while self.messages.len() > self.most || self.bytes > limits::HISTORY_BYTES {
            let Some(oldest) = self.messages.pop_front() else {
                break;
            };
            self.bytes -= oldest.event.len();
        }
        message
    }

    /// What came after the message `last_seen`, as far as it is still here.
    pub(crate) fn after(&self, last_seen: u64) -> VecDeque<Bytes> {
        // An id that this channel has not given yet is from an earlier life of it: all is new to
        // its subscriber.
        let last_seen = if last_seen > self.last_id {
            0
        } else {
            last_seen
        };
        let known = self
            .messages
            .partition_point(|message| message.id <= last_seen);
        self.messages
            .range(known..)
            .map(|message| message.event.clone())
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// How full it is, 0 to 1, by the tighter of its two bounds.
    pub(crate) fn fill(&self) -> f64 {
        let by_messages = self.messages.len() as f64 / self.most.max(1) as f64;
        let by_bytes = self.bytes as f64 / limits::HISTORY_BYTES as f64;
        by_messages.max(by_bytes)
    }
}

/// One server-sent event. Each line of the payload is a `data:` line of its own, whatever ends it:
/// a bare carriage return ends a line there, too, and would let a payload forge the other fields.
fn event(id: u64, aspect: &str, payload: &str) -> Bytes {
    let mut text = format!("id: {id}\nevent: {aspect}\n");
    for line in payload.replace("\r\n", "\n").split(['\n', '\r']) {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
    text.into()
}
