//! Everything that knows data or models.

pub mod inspect;
