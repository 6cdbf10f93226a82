//! Equal keys inside one run: the stage that comes second waits for the first, and then reuses its result.
//!
//! The locks of the store are between processes; to one of them, this run would look like any other.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};

/// Which stage of this run is making which key.
#[derive(Default)]
pub(super) struct SingleFlight {
    makers: Mutex<BTreeMap<String, String>>,
    ended: Condvar,
}

/// The right to make a key, until dropped.
pub(super) struct Flight<'a> {
    flights: &'a SingleFlight,
    key: String,
}

impl SingleFlight {
    /// Takes the turn of a key for `stage`; where another stage has it, says so once and waits for its end.
    pub fn claim(&self, key: &str, stage: &str, waits_for: impl FnOnce(&str)) -> Flight<'_> {
        let mut makers = self.makers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(maker) = makers.get(key) {
            waits_for(maker);
        }
        while makers.contains_key(key) {
            makers = self.ended.wait(makers).unwrap_or_else(PoisonError::into_inner);
        }
        makers.insert(key.into(), stage.into());
        Flight { flights: self, key: key.into() }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.flights.makers.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        self.flights.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_of_the_first_and_comes_after_it() {
        let flights = SingleFlight::default();
        let first = flights.claim("k", "a", |_| panic!("nobody has it"));
        let _other = flights.claim("other", "a", |_| panic!("nobody has it"));
        let order = Mutex::new(vec![]);
        std::thread::scope(|scope| {
            let (tell, heard) = std::sync::mpsc::channel();
            let order = &order;
            let flights = &flights;
            scope.spawn(move || {
                let _flight = flights.claim("k", "b", |maker| tell.send(maker.to_owned()).unwrap());
                order.lock().unwrap().push("b");
            });
            assert_eq!(heard.recv().unwrap(), "a");
            order.lock().unwrap().push("a");
            drop(first);
        });
        assert_eq!(order.into_inner().unwrap(), ["a", "b"]);
    }
}
