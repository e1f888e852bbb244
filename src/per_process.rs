//! State that a child process creates anew.

use std::mem;
use std::process;
use std::sync::{Arc, Mutex};

use crate::worker::lock;

/// A value that is created at first use, and again in a child process, which has no threads of its parent.
pub(crate) struct PerProcess<T>(Mutex<Option<(u32, Arc<T>)>>);

impl<T> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Returns the value of this process.
    pub(crate) fn get_or_create(&self, create: impl FnOnce() -> T) -> Arc<T> {
        let this = process::id();
        let current = |slot: &Option<(u32, Arc<T>)>| {
            let (_, value) = slot.as_ref().filter(|(process, _)| *process == this)?;
            Some(Arc::clone(value))
        };
        if let Some(value) = current(&lock(&self.0)) {
            return value;
        }
        // Created without the lock, since the first clock of a process takes its time.
        let new = Arc::new(create());
        let mut slot = lock(&self.0);
        if let Some(value) = current(&slot) {
            return value;
        }
        // Never dropped: a thread of the parent may have held one of its locks.
        mem::forget(slot.replace((this, Arc::clone(&new))));
        new
    }
}
