//! Who may run when: every node after the nodes that it needs, independent ones side by side.
//!
//! It knows nothing of stages, keys or the store.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};

use super::THREADS;

/// How a visit of a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeEnd {
    /// What needs it may go on.
    Done,
    /// What needs it must not.
    Failed,
    /// What needs it must not; the others go on.
    Submitted,
    /// The whole run is to stop.
    Stop,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Ended(NodeEnd),
}

struct Board {
    states: Vec<Option<State>>,
    /// Waiting nodes whose needs are done; the first in reading order goes first.
    ready: BTreeSet<usize>,
    running: usize,
    stopped: bool,
}

/// Visits the nodes of `chosen`, at most `jobs` at once; `needs[node]` are the nodes that it needs. After a failure nothing
/// new begins, unless `keep_going`: then only what needs the failed node is left out, as behind a node that submitted work. What is running is always waited for.
/// Nodes that were left out are never visited. Once it is `cancelled`, nothing new begins either.
pub(super) fn schedule(
    needs: &[BTreeSet<usize>],
    chosen: &BTreeSet<usize>,
    jobs: usize,
    keep_going: bool,
    cancelled: &(dyn Fn() -> bool + Sync),
    execute: &(dyn Fn(usize) -> NodeEnd + Sync),
) {
    let states: Vec<_> = (0..needs.len()).map(|node| chosen.contains(&node).then_some(State::Waiting)).collect();
    let mut needed_by = vec![Vec::new(); needs.len()];
    for &node in chosen {
        needs[node].iter().for_each(|&need| needed_by[need].push(node));
    }
    let ready = chosen.iter().copied().filter(|&node| is_ready(node, &states, needs)).collect();
    let board = Mutex::new(Board { states, ready, running: 0, stopped: false });
    let changed = Condvar::new();
    let work = || {
        let mut locked = board.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if locked.stopped || cancelled() {
                return;
            }
            let Some(node) = locked.ready.pop_first() else {
                if locked.running == 0 {
                    return;
                }
                locked = changed.wait(locked).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            locked.states[node] = Some(State::Running);
            locked.running += 1;
            drop(locked);
            let end = execute(node);
            locked = board.lock().unwrap_or_else(PoisonError::into_inner);
            locked.states[node] = Some(State::Ended(end));
            locked.running -= 1;
            locked.stopped |= end == NodeEnd::Stop || (end == NodeEnd::Failed && !keep_going);
            for &next in &needed_by[node] {
                if is_ready(next, &locked.states, needs) {
                    locked.ready.insert(next);
                }
            }
            changed.notify_all();
        }
    };
    std::thread::scope(|scope| {
        let jobs = jobs.clamp(1, chosen.len().max(1));
        let spawned = (0..jobs).filter(|job| {
            std::thread::Builder::new().name(format!("{THREADS}{job}")).spawn_scoped(scope, work).is_ok()
        });
        // A system that grants no thread at all leaves this one.
        if spawned.count() == 0 {
            work();
        }
    });
}

/// Whether a node waits and its needs are done. A node outside of `chosen` counts as done.
fn is_ready(node: usize, states: &[Option<State>], needs: &[BTreeSet<usize>]) -> bool {
    let done = |need: &usize| matches!(states[*need], None | Some(State::Ended(NodeEnd::Done)));
    states[node] == Some(State::Waiting) && needs[node].iter().all(done)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    /// 0 → 1 → 3, 0 → 2 → 3, and 4 alone.
    fn diamond() -> Vec<BTreeSet<usize>> {
        [&[][..], &[0], &[0], &[1, 2], &[]].map(|needs| needs.iter().copied().collect()).to_vec()
    }

    fn executed(chosen: &[usize], jobs: usize, keep_going: bool, end: impl Fn(usize) -> NodeEnd + Sync) -> Vec<usize> {
        let order = Mutex::new(Vec::new());
        let execute = |node| {
            order.lock().unwrap().push(node);
            end(node)
        };
        schedule(&diamond(), &chosen.iter().copied().collect(), jobs, keep_going, &|| false, &execute);
        order.into_inner().unwrap()
    }

    #[test]
    fn one_job_goes_in_reading_order() {
        assert_eq!(executed(&[0, 1, 2, 3, 4], 1, false, |_| NodeEnd::Done), [0, 1, 2, 3, 4]);
        assert_eq!(executed(&[0, 2], 1, false, |_| NodeEnd::Done), [0, 2]);
        assert!(executed(&[], 3, false, |_| NodeEnd::Done).is_empty());
    }

    #[test]
    fn independent_nodes_are_at_work_at_once() {
        // Both sides of the diamond meet here, or the test hangs.
        let barrier = Barrier::new(2);
        let meet = |node| {
            if node == 1 || node == 2 {
                barrier.wait();
            }
            NodeEnd::Done
        };
        assert_eq!(executed(&[0, 1, 2, 3], 2, false, meet).len(), 4);
    }

    #[test]
    fn a_failure_ends_the_run_or_only_what_needs_it() {
        let one_fails = |node| if node == 1 { NodeEnd::Failed } else { NodeEnd::Done };
        assert_eq!(executed(&[0, 1, 2, 3, 4], 1, false, one_fails), [0, 1]);
        assert_eq!(executed(&[0, 1, 2, 3, 4], 1, true, one_fails), [0, 1, 2, 4]);
        assert!(!executed(&[0, 1, 2, 3, 4], 3, true, |_| NodeEnd::Stop).contains(&3));
        let one_submits = |node| if node == 1 { NodeEnd::Submitted } else { NodeEnd::Done };
        assert_eq!(executed(&[0, 1, 2, 3, 4], 1, false, one_submits), [0, 1, 2, 4], "and only what needs it waits");
    }

    #[test]
    fn nothing_begins_once_it_is_cancelled() {
        let (cancel, order) = (crate::Cancel::default(), Mutex::new(Vec::new()));
        let execute = |node| {
            order.lock().unwrap().push(node);
            cancel.raise();
            NodeEnd::Done
        };
        schedule(&diamond(), &BTreeSet::from([0, 1, 2, 3]), 3, true, &|| cancel.is_raised(), &execute);
        assert_eq!(order.into_inner().unwrap(), [0]);
    }
}
