//! What pages are made of.

use crate::Catalog;
use crate::store::Store;

/// The results, and what reads them.
pub(super) struct Pages {
    pub store: Store,
    pub catalog: &'static Catalog,
}
