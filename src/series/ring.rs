/// The last rows of a table that grows by one row per step. NaN is a gap.
pub(super) struct Ring {
    /// The row of step `i` is number `i % len`.
    cells: Box<[f32]>,
    width: usize,
    len: usize,
    newest: Option<u64>,
    /// The number of rows in use: one for each step since the first, at most `len`.
    used: usize,
}

impl Ring {
    pub(super) fn new(len: usize, width: usize) -> Self {
        Self { cells: vec![f32::NAN; len * width].into(), width, len, newest: None, used: 0 }
    }

    /// Returns the step of the newest row.
    pub(super) fn newest(&self) -> Option<u64> {
        self.newest
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Makes the row of `step` the newest and returns it. Rows that this adds are gaps.
    ///
    /// `step` must not be before the newest.
    pub(super) fn advance(&mut self, step: u64) -> &mut [f32] {
        let added = self.newest.map_or(1, |newest| step - newest);
        let added = usize::try_from(added).unwrap_or(usize::MAX).min(self.len);
        for back in 0..added {
            self.row(step - back as u64).fill(f32::NAN);
        }
        self.used = self.len.min(self.used + added);
        self.newest = Some(step);
        self.row(step)
    }

    /// Returns a column of the last `n` rows in use, oldest first.
    pub(super) fn column(&self, column: usize, n: usize) -> Vec<Option<f32>> {
        let newest = self.newest.unwrap_or(0);
        let cells = (0..n).rev().map(|back| self.cells[self.start(newest - back as u64) + column]);
        cells.map(|value| Some(value).filter(|value| !value.is_nan())).collect()
    }

    fn row(&mut self, step: u64) -> &mut [f32] {
        let start = self.start(step);
        &mut self.cells[start..start + self.width]
    }

    fn start(&self, step: u64) -> usize {
        let index = step % self.len as u64;
        usize::try_from(index).expect("less than the length") * self.width
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(ring: &Ring) -> Vec<Option<f32>> {
        ring.column(0, ring.used())
    }

    #[test]
    fn skipped_steps_are_gaps_and_the_last_rows_are_kept() {
        let mut ring = Ring::new(3, 1);
        assert_eq!(column(&ring), []);
        ring.advance(7)[0] = 7.0;
        assert_eq!(column(&ring), [Some(7.0)]);
        ring.advance(9)[0] = 9.0;
        assert_eq!(column(&ring), [Some(7.0), None, Some(9.0)]);
        ring.advance(10)[0] = 10.0;
        assert_eq!(column(&ring), [None, Some(9.0), Some(10.0)]);
        ring.advance(10)[0] = 11.0;
        assert_eq!(column(&ring), [None, Some(9.0), Some(11.0)]);
    }

    #[test]
    fn advance_of_any_length_keeps_what_is_within_the_ring() {
        for start in [0, 5, u64::MAX - 9] {
            for (added, expected) in [
                (1, [Some(1.0), Some(1.0), Some(2.0)]),
                (2, [Some(1.0), None, Some(2.0)]),
                (3, [None, None, Some(2.0)]),
            ] {
                let mut ring = Ring::new(3, 2);
                (start..start + 3).for_each(|step| ring.advance(step).fill(1.0));
                ring.advance(start + 2 + added)[1] = 2.0;
                assert_eq!((ring.newest(), ring.used()), (Some(start + 2 + added), 3));
                assert_eq!(ring.column(1, 3), expected);
            }
            let mut ring = Ring::new(3, 2);
            ring.advance(start).fill(1.0);
            ring.advance(u64::MAX).fill(2.0);
            assert_eq!(ring.column(0, 3), [None, None, Some(2.0)]);
        }
    }
}
