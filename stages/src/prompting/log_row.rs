//! A user's log, as it is told.

/// One row of a user's log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LogRow {
    pub item: u32,
    pub rating: f32,
    pub timestamp: i64,
}
