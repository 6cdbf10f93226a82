//! A batch as the ledger holds it.

use serde::{Deserialize, Serialize};

use super::spending::TokenCount;

/// The reservation of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct BatchReserved {
    /// Our name of it, which the server keeps as metadata.
    pub submission: String,
    /// The server.
    pub server: String,
    pub requests: u64,
    pub tokens: TokenCount,
    pub nano_usd: Option<u64>,
}

/// A batch that is not taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct OpenBatch {
    /// The position of its reservation.
    pub of: u64,
    pub reserved: BatchReserved,
    /// The server's id; none where the program ended before it was recorded.
    pub id: Option<String>,
}
