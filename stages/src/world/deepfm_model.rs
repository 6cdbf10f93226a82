//! The network of DeepFM.

use anyhow::Result;
use candle_core::{Module as _, Tensor};

use super::deepfm_settings::DeepFm;
use super::dense_field::DenseField;
use super::fields::Fields;
use super::heteroscedastic;
use super::rating_model::Predicted;
use super::side_features::sum;
use crate::artifact::Array;
use crate::nn::{Init, Mlp, Params};

pub(super) struct Model {
    pub fields: Fields,
    pub mean: f64,
    /// `[rows, 1 + K]`: each row's linear weight, then its embedding.
    pub table: Tensor,
    /// `[G, 1 + K]`, where genres are not declared.
    pub genre_table: Option<Tensor>,
    /// To 1 + K numbers, as a row of the table.
    pub vectors: Option<DenseField>,
    pub network: Mlp,
    embedding: usize,
}

impl Model {
    pub fn new(
        params: &mut Params,
        config: &DeepFm,
        fields: &Fields,
        vectors: Option<&Array>,
        mean: f64,
        seed: u64,
    ) -> Result<Self> {
        let fields = fields.on(params.device())?;
        let mut init = Init::new(seed);
        let width = config.embedding;
        let count = fields.count() + vectors.iter().count();
        let mut widths = vec![count * width];
        widths.extend(&config.hidden);
        widths.push(if config.predict_variance { 2 } else { 1 });
        Ok(Self {
            mean,
            table: params.add("table", &init.normal(&[fields.rows, 1 + width], 0.05)?)?,
            genre_table: fields
                .genres
                .as_ref()
                .map(|genres| genre_table(params, genres, 1 + width, &mut init))
                .transpose()?,
            network: Mlp::new(params, "network", &widths, 1.0, &mut init)?,
            vectors: vectors
                .map(|vectors| DenseField::new(params, "item_vectors", vectors, 1 + width, &mut init))
                .transpose()?,
            embedding: width,
            fields,
        })
    }

    /// Which rows of the table the pairs use, `[B·S]`.
    pub(super) fn ids(&self, user: &Tensor, item: &Tensor) -> Result<Tensor> {
        let of = [self.fields.user.ids_of(user)?, self.fields.item.ids_of(item)?];
        Ok(Tensor::cat(&of, 1)?.flatten_all()?)
    }

    /// What the model says of B pairs: from their rows of the table, `[B·S, 1 + K]`, the weights of these, `[B, S]`, where they are not 1,
    /// and what the items' vectors give, `[B, 1 + K]`.
    pub(super) fn ratings(
        &self,
        rows: &Tensor,
        weights: Option<&Tensor>,
        item: &Tensor,
        vectors: Option<Tensor>,
    ) -> Result<Predicted> {
        let (batch, width) = (item.dim(0)?, 1 + self.embedding);
        let rows = rows.reshape((batch, rows.elem_count() / (batch * width), width))?;
        let mut fields = vec![self.fields.grouped(rows, weights)?];
        if let Some((genres, table)) = self.fields.genres.as_ref().zip(self.genre_table.as_ref()) {
            fields.push(genres.index_select(item, 0)?.matmul(table)?.unsqueeze(1)?);
        }
        if let Some(vectors) = vectors {
            fields.push(vectors.unsqueeze(1)?);
        }
        self.outputs(&Tensor::cat(&fields, 1)?)
    }

    /// The same from the linear weight and embedding of every field, `[B, F, 1 + K]`.
    fn outputs(&self, rows: &Tensor) -> Result<Predicted> {
        let linear = rows.narrow(2, 0, 1)?.sum((1, 2))?;
        let vectors = rows.narrow(2, 1, self.embedding)?.contiguous()?;
        // Σ_{f<g} ⟨v_f, v_g⟩ = ½ (|Σ v|² − Σ |v|²), Guo et al. 2017, eq. 2 after Rendle 2010, lemma 3.1.
        let pairs = ((vectors.sum(1)?.sqr()?.sum(1)? - vectors.sqr()?.sum((1, 2))?)? * 0.5)?;
        let outputs = self.network.forward(&vectors.flatten_from(1)?)?;
        let rating = (((linear + pairs)? + outputs.narrow(1, 0, 1)?.squeeze(1)?)? + self.mean)?;
        let stated = outputs.dim(1)? == 2;
        let log_variance =
            stated.then(|| heteroscedastic::bounded(&outputs.narrow(1, 1, 1)?.squeeze(1)?)).transpose()?;
        Ok(Predicted { rating, log_variance })
    }

    /// |θ|² of what all pairs use; `None` where that is nothing.
    pub(super) fn shared_size(&self) -> Result<Option<Tensor>> {
        let genres = self.genre_table.as_ref().map(|table| table.sqr()?.sum_all()).transpose()?;
        let vectors = self.vectors.as_ref().map(DenseField::size).transpose()?;
        Ok(sum(genres, vectors)?)
    }
}

fn genre_table(params: &mut Params, genres: &Tensor, width: usize, init: &mut Init) -> Result<Tensor> {
    params.add("genre_table", &init.normal(&[genres.dim(1)?, width], 0.05)?)
}
