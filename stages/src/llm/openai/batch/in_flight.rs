//! A batch that the server works on.

use super::super::budget::OpenBatch;
use super::api::Batch;

/// A batch in flight: as it stands in the ledger, and as the server describes it.
pub(super) type InFlight = (OpenBatch, Batch);
