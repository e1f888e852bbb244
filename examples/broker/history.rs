//! The last messages of one channel, kept for replay.
//!
//! Ids are consecutive, so a gap tells a subscriber how many messages it has missed.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::limits;

pub(crate) struct History {
    max_messages: usize,
    last_id: u64,
    bytes: usize,
    messages: VecDeque<Message>,
}

#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) id: u64,
    /// The encoded event, shared by all subscribers.
    pub(crate) event: Bytes,
}

impl History {
    pub(crate) fn new(max_messages: usize) -> Self {
        Self { max_messages, last_id: 0, bytes: 0, messages: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, aspect: &str, payload: &str) -> Message {
        self.last_id += 1;
        let message = Message { id: self.last_id, event: encode_event(self.last_id, aspect, payload) };
        self.bytes += message.event.len();
        self.messages.push_back(message.clone());
        while self.messages.len() > self.max_messages || self.bytes > limits::MAX_HISTORY_BYTES {
            let Some(oldest) = self.messages.pop_front() else {
                break;
            };
            self.bytes -= oldest.event.len();
        }
        message
    }

    /// Returns the buffered events after the message `last_id`.
    pub(crate) fn after(&self, last_id: u64) -> VecDeque<Bytes> {
        // An id above our own is from a removed channel of the same name, or from before a restart: replay
        // everything.
        let last_id = if last_id > self.last_id { 0 } else { last_id };
        let start = self.messages.partition_point(|message| message.id <= last_id);
        self.messages.range(start..).map(|message| message.event.clone()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Returns the used fraction, 0 to 1, of the tighter of the two limits.
    pub(crate) fn utilization(&self) -> f64 {
        let by_messages = self.messages.len() as f64 / self.max_messages.max(1) as f64;
        let by_bytes = self.bytes as f64 / limits::MAX_HISTORY_BYTES as f64;
        by_messages.max(by_bytes)
    }
}

/// Encodes one server-sent event, with one `data:` field for each line of the payload.
///
/// A bare carriage return is a line break too: left as it is, it would let a payload forge the other fields.
fn encode_event(id: u64, aspect: &str, payload: &str) -> Bytes {
    let mut text = format!("id: {id}\nevent: {aspect}\n");
    for line in payload.replace("\r\n", "\n").replace('\r', "\n").split('\n') {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
    text.into()
}
