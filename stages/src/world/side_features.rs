//! Declared columns of users and items in a fit: what they are encoded to, what is said of them, and a table of their embeddings.
//!
//! p_u and q_i are a row's own vector plus Σ_k w_k·v_{id_k} over the slots of its columns (feature-based matrix factorisation, Chen et al.
//! 2012, JMLR 13, eq. 2; Kula 2015), so an item that nobody rated has the vector of its columns.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use pipeline::Context;

use crate::artifact::{Interactions, ItemFeatures, ItemVectors, Items, Users};
use crate::features::{Columns, Encoding, Features};
use crate::nn::{Init, Params, embedding};

/// The declared columns of both tables; `None` of a table of which none is declared.
#[derive(Default)]
pub(super) struct Declarations {
    pub users: Option<Encoding>,
    pub items: Option<Encoding>,
}

/// How a family reads the columns of a table of which none is declared.
#[derive(Clone, Copy)]
pub(super) enum Undeclared {
    /// Those with at most so many values.
    UpTo(usize),
    /// Not at all.
    LeftOut,
}

impl Declarations {
    /// Encodes the columns by what is fitted, and notes which are read and which are left out.
    ///
    /// # Errors
    /// Where a column is not there, holds other values than declared, or is a text without vectors.
    pub fn of(
        features: &Features,
        (users, items): (&Users, &Items),
        log: &Interactions,
        vectors: Option<&ItemVectors>,
        undeclared: Undeclared,
        cx: &Context,
    ) -> Result<Self> {
        let tables = [
            (Columns::of_items(items), &features.items, &log.item),
            (Columns::of_users(users), &features.users, &log.user),
        ];
        let (mut encodings, mut read, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for (table, declared, rated) in tables {
            let mut uses = vec![0_u32; table.len()];
            rated.iter().for_each(|&row| uses[row as usize] += 1);
            let encoding = match declared.is_empty() {
                true => None,
                false => Some(Encoding::of(&table, declared, &uses, features.max_cardinality)?),
            };
            for name in encoding.iter().flat_map(|encoding| &encoding.texts) {
                check_told(name, vectors)?;
            }
            let said = encoding.as_ref().and_then(Encoding::said);
            read.extend(said.map(|said| format!("{}: {said}", table.of)));
            let left = not_read(&table, declared.is_empty(), encoding.as_ref(), features, undeclared);
            if !left.is_empty() {
                left_out.push(format!("{}: {}", table.of, left.join(", ")));
            }
            encodings.push(encoding);
        }
        if !read.is_empty() {
            cx.note("features", read.join("; "));
        }
        if !left_out.is_empty() {
            cx.note("columns left out", format!("{} (`features` declares what is read)", left_out.join("; ")));
        }
        let users = encodings.pop().flatten();
        Ok(Self { users, items: encodings.pop().flatten() })
    }
}

impl Declarations {
    /// The declared columns of `items` items, for a world's file.
    pub fn item_features(&self, items: usize) -> Option<ItemFeatures> {
        self.items.as_ref()?.item_features(items)
    }
}

/// Notes the columns of a world that reads none.
pub(super) fn note_unread(users: &Users, items: &Items, cx: &Context) {
    let tables = [Columns::of_items(items), Columns::of_users(users)];
    let named = tables.iter().filter(|table| !table.values.is_empty());
    let left: Vec<String> = named
        .map(|table| format!("{}: {}", table.of, table.values.keys().copied().collect::<Vec<_>>().join(", ")))
        .collect();
    if !left.is_empty() {
        let who = "`features` of `world.deepfm`, `world.mf` and `world.two_tower` reads columns";
        cx.note("columns left out", format!("{} ({who})", left.join("; ")));
    }
}

/// The columns that are not read, those that are too many with the reason.
fn not_read(
    table: &Columns<'_>,
    none_declared: bool,
    encoding: Option<&Encoding>,
    features: &Features,
    undeclared: Undeclared,
) -> Vec<String> {
    let declared = if table.of == "items" { &features.items } else { &features.users };
    let mut left: Vec<String> = encoding.map(|encoding| encoding.left_out.clone()).unwrap_or_default();
    left.extend(table.undeclared(declared).filter_map(|name| match undeclared {
        Undeclared::UpTo(_) if !none_declared => Some(format!("{name} (not declared)")),
        Undeclared::UpTo(_) if table.of == "items" && ["year", "genres"].contains(&name) => None,
        Undeclared::UpTo(most) => {
            let values = distinct(&table.values[name]);
            (values > most).then(|| format!("{name} ({values} values, more than `max_cardinality: {most}`)"))
        }
        Undeclared::LeftOut => Some(name.to_owned()),
    }));
    left
}

/// Number of different values.
pub(super) fn distinct(values: &[String]) -> usize {
    values.iter().collect::<BTreeSet<_>>().len()
}

/// Refuses a text whose vectors are not connected.
fn check_told(name: &str, vectors: Option<&ItemVectors>) -> Result<()> {
    let help = format!(
        "help: add `texts: {{ use: embed, inputs: {{ items: … }}, with: {{ embedder: …, template: \"{{{{ features.{name} }}}}\" }} }}` and \
         connect `item_vectors: texts.item_vectors`; `apprentice stages embed` says what embeds"
    );
    let Some(vectors) = vectors else {
        anyhow::bail!(
            "`features.items.{name}` is declared as text, which is read by its vectors, and `item_vectors` is not connected\n{help}"
        )
    };
    ensure!(
        vectors.space.contains(name),
        "`features.items.{name}` is declared as text, and the vectors at `item_vectors` do not tell of it: they are of {}\n{help}",
        vectors.space
    );
    Ok(())
}

/// A table of the embeddings of the declared columns of users, or of items.
pub(super) struct FeatureTable {
    /// `[R, width]`.
    table: Tensor,
    /// `[N, S]` each.
    ids: Tensor,
    weights: Tensor,
}

/// Standard deviation of the initial embeddings.
const SPREAD: f64 = 0.05;

impl FeatureTable {
    /// The parameter `name` with random initial values, of `count` users or items; `None` where no column is read.
    pub fn new(
        params: &mut Params,
        name: &str,
        encoding: Option<&Encoding>,
        count: usize,
        width: usize,
        init: &mut Init,
    ) -> Result<Option<Self>> {
        let Some(encoding) = encoding.filter(|encoding| encoding.width() > 0) else { return Ok(None) };
        let (ids, weights) = encoding.slots(count, 0);
        let shape = (count, encoding.width());
        Ok(Some(Self {
            table: params.add(name, &init.normal(&[encoding.table_rows(), width], SPREAD)?)?,
            ids: Tensor::from_vec(ids, shape, &Device::Cpu)?.to_device(params.device())?,
            weights: Tensor::from_vec(weights, shape, &Device::Cpu)?.to_device(params.device())?,
        }))
    }

    /// Σ_k w_k·v_{id_k} of `rows [B]` → `[B, width]`.
    pub fn rows(&self, rows: &Tensor) -> candle_core::Result<Tensor> {
        let ids = self.ids.index_select(rows, 0)?;
        let weights = self.weights.index_select(rows, 0)?.to_dtype(self.table.dtype())?;
        embedding(&self.table, &ids)?.broadcast_mul(&weights.unsqueeze(2)?)?.sum(1)
    }

    /// The squared size of the table.
    pub fn size(&self) -> candle_core::Result<Tensor> {
        self.table.sqr()?.sum_all()
    }
}

/// `one + other` of what may not be there.
pub(super) fn sum(one: Option<Tensor>, other: Option<Tensor>) -> candle_core::Result<Option<Tensor>> {
    match (one, other) {
        (Some(one), Some(other)) => (one + other).map(Some),
        (one, other) => Ok(one.or(other)),
    }
}
