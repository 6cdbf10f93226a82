//! Which stages may hold their tables at once: those whose needs the cap allows together.
//!
//! Each stage is held to the cap by itself before it begins, and the process as a whole by its allocator. Without this, several
//! stages that fit alone would end the process together.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::memory_need::bytes;

/// How often a stage that waits looks whether the run was interrupted.
const LOOK: Duration = Duration::from_millis(100);

/// What the stages at work need, by node.
#[derive(Default)]
pub(super) struct MemoryGate {
    at_work: Mutex<BTreeMap<usize, (String, u64)>>,
    ended: Condvar,
}

/// The right to hold tables, until dropped.
pub(super) struct Admitted<'a> {
    gate: &'a MemoryGate,
    node: usize,
}

impl MemoryGate {
    /// Waits until the stage of `node` fits beside those at work, or is alone; says once for what it waits. None once it is `cancelled`.
    pub fn admit(
        &self,
        node: usize,
        (stage, need): (&str, u64),
        cap: u64,
        cancelled: &dyn Fn() -> bool,
        waits_for: impl FnOnce(&str),
    ) -> Option<Admitted<'_>> {
        let mut at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waits_for = Some(waits_for);
        loop {
            let held = at_work.values().fold(0_u64, |sum, (_, need)| sum.saturating_add(*need));
            if need == 0 || held == 0 || held.saturating_add(need) <= cap {
                at_work.insert(node, (stage.to_owned(), need));
                return Some(Admitted { gate: self, node });
            }
            if cancelled() {
                return None;
            }
            if let Some(say) = waits_for.take() {
                let holders = at_work.values().filter(|(_, need)| *need > 0).map(|(stage, _)| stage.as_str());
                let holders = holders.collect::<Vec<_>>().join(", ");
                let [need, held, cap] = [need, held, cap].map(bytes);
                say(&format!("its tables need {need}, those of {holders} {held}, and the cap is {cap}"));
            }
            at_work = self.ended.wait_timeout(at_work, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.gate.at_work.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.node);
        self.gate.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    const GIB: u64 = 1 << 30;

    fn enter<'a>(gate: &'a MemoryGate, node: usize, need: u64) -> Option<Admitted<'a>> {
        gate.admit(node, (&format!("policy@seed={node}"), need), 16 * GIB, &|| false, |_| {})
    }

    /// Five seeds of 6 GiB on 16 GiB, each on its own thread.
    #[test]
    fn no_more_are_at_work_than_the_cap_allows_and_all_get_their_turn() {
        let (gate, held, most) = (MemoryGate::default(), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for node in 0..5 {
                let (gate, held, most) = (&gate, &held, &most);
                scope.spawn(move || {
                    let _admitted = enter(gate, node, 6 * GIB).unwrap();
                    most.fetch_max(held.fetch_add(6, Ordering::SeqCst) + 6, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(20));
                    held.fetch_sub(6, Ordering::SeqCst);
                });
            }
        });
        assert!(most.into_inner() <= 12 && gate.at_work.into_inner().unwrap().is_empty());
    }

    #[test]
    fn what_fits_enters_what_does_not_says_why_and_an_interruption_ends_the_wait() {
        let gate = MemoryGate::default();
        let first = enter(&gate, 0, 12 * GIB).unwrap();
        let (_fits, _needs_nothing) = (enter(&gate, 1, 4 * GIB).unwrap(), enter(&gate, 2, 0).unwrap());
        let (cancel, mut said) = (AtomicBool::new(false), String::new());
        let refused = gate.admit(3, ("world", GIB), 16 * GIB, &|| cancel.swap(true, Ordering::SeqCst), |words| {
            said = words.to_owned()
        });
        assert!(refused.is_none());
        assert_eq!(
            said,
            "its tables need 1.0 GiB, those of policy@seed=0, policy@seed=1 16.0 GiB, and the cap is 16.0 GiB"
        );
        drop(first);
        assert!(enter(&gate, 4, 12 * GIB).is_some());
    }

    #[test]
    fn what_is_alone_runs_whatever_it_needs() {
        let gate = MemoryGate::default();
        let _small = enter(&gate, 0, 0).unwrap();
        assert!(enter(&gate, 1, 40 * GIB).is_some(), "what needs nothing is in nobody's way");
    }
}
