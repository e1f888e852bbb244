//! What it takes to count beyond the slab.

use std::sync::Barrier;
use std::thread;

/// Does something while every shard of the slab has its thread, each of which has counted once.
pub(crate) fn while_full(count: impl Fn() + Sync, act: impl FnOnce()) {
    // Twice as many as there are cores have one there, and sixteen at the least.
    let slab = thread::available_parallelism().map_or(1, usize::from) * 2;
    let slab = slab.next_power_of_two().max(16);
    let (counted, done) = (Barrier::new(slab + 1), Barrier::new(slab + 1));
    thread::scope(|scope| {
        for _ in 0..slab {
            scope.spawn(|| {
                count();
                counted.wait();
                done.wait();
            });
        }
        counted.wait();
        act();
        done.wait();
    });
}
