//! What the alignments read and write.

use crate::artifact::{Adapter, Curves, Interactions, Items};

pipeline::ports! {
    /// The log and its catalogue.
    pub struct Inputs {
        /// The catalogue with the titles. Items without a title are described by their genres and features.
        items: Items,
        /// The training log. The last row of each user is only predicted.
        train: Interactions,
    }
}

pipeline::ports! {
    /// What the model learned.
    pub struct Outputs {
        /// Connect it where the same model is asked.
        adapter: Adapter,
        /// By update: `loss`, of answers the mean −ln p of a token and of pairs the mean loss, in the batch, and `gradient_norm` before
        /// clipping. At the beginning and behind each pass, over what is held out: of answers `nll.held_out`, the same mean; of pairs
        /// `loss.held_out`, and `accuracy.held_out`, the share in which the chosen answer gained more than the rejected one.
        curves: Curves,
    }
}
