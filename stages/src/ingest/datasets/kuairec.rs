//! KuaiRec (Gao et al. 2022, arXiv 2202.10842): watch ratios of short videos; a small part of the matrix of users × videos is dense.
//!
//! `big_matrix.csv` and `small_matrix.csv` have the columns `user_id`, `video_id`, `play_duration`, `video_duration`, `time`, `date`,
//! `timestamp` (seconds), `watch_ratio`; `item_categories.csv` has `video_id` and `feat`, a list as `"[27, 9]"`; `user_features.csv` has
//! `user_id` and features. Videos have no titles. Left out: `social_network.csv`, `item_daily_features.csv` and captions.

use anyhow::Result;
use pipeline::{AssetName, Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::{Interactions, Items, Users};
use crate::ingest::NoInputs;
use crate::ingest::readers::bad_rows::{Fault, OnBadRow};
use crate::ingest::readers::decimal::Decimal;
use crate::ingest::readers::decompress::{decompressed, one_of};
use crate::ingest::readers::delimited::{Delimited, Time};
use crate::ingest::readers::genres;
use crate::ingest::readers::header::Header;
use crate::ingest::readers::line_log::Lines;
use crate::ingest::readers::record::{text, texts};
use crate::ingest::readers::side_table::{Quotes, SideTable};

/// `ingest.kuairec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KuaiRec {
    /// The folder with the files (`data` in the published archive).
    pub asset: AssetName,
    /// Maximum watch ratio, above 0; higher ones are clipped. Simulators in the literature use 5. When absent, ratios are not clipped:
    /// a looping video may have hundreds.
    #[serde(default)]
    pub max_watch_ratio: Option<f64>,
    /// Treatment of invalid rows.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
}

pipeline::ports! {
    /// The tables of KuaiRec.
    pub struct Outputs {
        /// The big matrix, for training: videos watched under the platform's recommender. The rating is the watch ratio.
        interactions: Interactions,
        /// The small, dense matrix, for evaluation; none of its rows is in the big one. A missing time is 0.
        dense: Interactions,
        /// The videos; the genres are the numbers of their categories.
        items: Items,
        /// The users with their features.
        users: Users,
    }
}

impl Stage for KuaiRec {
    const KIND: &'static str = "ingest.kuairec";
    /// 1: first. 2: times are rounded down; numbers out of range, open quotes and an empty log are refused. 3: a quote opens a field
    /// only at its beginning, also in the matrices; integers in floats are ids and categories. 4: a time in a year beyond 9999 is refused.
    const VERSION: u32 = 4;
    const ABOUT: &'static str = "read KuaiRec: watch ratios of short videos, with a dense part";
    type Inputs = NoInputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        vec![self.asset.clone()]
    }

    fn check(&self) -> Result<(), (String, String)> {
        if self.max_watch_ratio.is_some_and(|ratio| !(ratio.is_finite() && ratio > 0.0)) {
            return Err(("max_watch_ratio".into(), "a watch ratio above 0".into()));
        }
        Ok(())
    }

    fn run(&self, _: NoInputs, cx: &Context) -> Result<Outputs> {
        let (items, users) = (self.items(cx)?, self.users(cx)?);
        let interactions = self.matrix("big_matrix.csv", &users, &items, cx)?;
        let dense = self.matrix("small_matrix.csv", &users, &items, cx)?;
        let (big, small) = (interactions.len(), dense.len());
        cx.note(
            "read",
            format!("{big} interactions and {small} of the dense part, {} users, {} items", users.len(), items.len()),
        );
        Ok(Outputs { interactions, dense, items, users })
    }
}

impl KuaiRec {
    fn matrix(&self, name: &str, users: &Users, items: &Items, cx: &Context) -> Result<Interactions> {
        let file = decompressed(&one_of(cx.asset(&self.asset)?, &[name])?, cx)?;
        let header = Header::read(&file, ",", true)?;
        let at = |name: &str| header.place(name);
        let form = Delimited {
            separator: ",",
            quotes: true,
            trims: false,
            decimal: Decimal::Point,
            header: Some(&header.line),
            fields: header.names.len(),
            user: at("user_id")?,
            item: at("video_id")?,
            rating: Some(("watch_ratio", at("watch_ratio")?)),
            time: Some(Time { may_be_missing: true, ..Time::seconds("timestamp", at("timestamp")?) }),
        };
        let lines = Lines {
            file: &file,
            header: 1,
            quoted_by: form.quoted_by(),
            columns: ["user_id", "video_id"],
            known: [Some(&users.id), Some(&items.id)],
            parse: &|line, take| take(form.parse(line)),
        };
        let mut read = lines.read(cx)?;
        read.finish(file.name(), self.on_bad_row, cx)?;
        if let Some(most) = self.max_watch_ratio {
            for ratio in &mut read.interactions.rating {
                *ratio = ratio.min(most as f32);
            }
        }
        Ok(read.interactions)
    }

    fn items(&self, cx: &Context) -> Result<Items> {
        let table = SideTable::read(
            &one_of(cx.asset(&self.asset)?, &["item_categories.csv"])?,
            None,
            None,
            Quotes::ByEnding,
            self.on_bad_row,
            cx,
        )?;
        let mut items = Items::default();
        table.require_column("feat")?;
        table.for_each_id("video_id", self.on_bad_row, cx, |id, record| {
            let feat = text(record, "feat")?;
            let numbers = serde_json::from_str::<Vec<Value>>(&feat)
                .ok()
                .map(|list| genres::parse(Some(&list.into()), ",", "feat"));
            let numbers =
                numbers.unwrap_or_else(|| Err(Fault::value("feat", &feat, "a list of numbers as [27, 9]")))?;
            items.title.push(format!("video {id}"));
            items.year.push(None);
            items.genres.push(numbers);
            items.id.push(id);
            Ok(())
        })?;
        Ok(items)
    }

    fn users(&self, cx: &Context) -> Result<Users> {
        let table = SideTable::read(
            &one_of(cx.asset(&self.asset)?, &["user_features.csv"])?,
            None,
            None,
            Quotes::ByEnding,
            self.on_bad_row,
            cx,
        )?;
        let features = table.names.iter().filter(|name| *name != "user_id" && !name.is_empty());
        let mut users =
            Users { features: features.map(|name| (name.clone(), Vec::new())).collect(), ..Users::default() };
        table.for_each_id("user_id", self.on_bad_row, cx, |id, record| {
            users.id.push(id);
            for (name, values) in &mut users.features {
                values.push(texts(record.get(name)).concat());
            }
            Ok(())
        })?;
        Ok(users)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n";

    fn run(big: &str, categories: &str, max_watch_ratio: &str) -> Result<Outputs> {
        let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("big_matrix.csv", &format!("{HEADER}{big}"));
        write(
            "small_matrix.csv",
            &format!(
                "{HEADER}14,148,4381,6067,2020-07-05 05:27:48.378,20200705.0,1593898068.378,0.722\n14,183,11635,6100,,,,1.907\n"
            ),
        );
        write("item_categories.csv", categories);
        write(
            "user_features.csv",
            "user_id,user_active_degree,is_lowactive_period,onehot_feat4\n0,high_active,0,\n14,full_active,0,3.0\n",
        );
        let mut cx = Context::detached(scratch.path());
        cx.add_asset("kuai", folder.path());
        let stage: KuaiRec = serde_json::from_str(&format!(r#"{{"asset": "kuai"{max_watch_ratio}}}"#)).unwrap();
        stage.run(NoInputs {}, &cx)
    }

    const BIG: &str = "0,183,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.2733965215790926\n0,148,99999,10,2020-07-05 00:09:00,20200705,1593878940,573.0\n";
    const CATEGORIES: &str = "video_id,feat\n148,[8]\n183,\"[27, 9]\"\n";

    #[test]
    fn both_matrices_share_their_users_and_videos() {
        let outputs = run(BIG, CATEGORIES, r#", "max_watch_ratio": 5.0"#).unwrap();
        let (big, dense) = (outputs.interactions, outputs.dense);
        assert_eq!((big.user, big.item, big.rating), (vec![0, 0], vec![1, 0], vec![1.273_396_5, 5.0]));
        assert_eq!(big.timestamp, [1_593_878_903, 1_593_878_940]);
        assert_eq!((dense.user, dense.item, dense.rating), (vec![1, 1], vec![0, 1], vec![0.722, 1.907]));
        assert_eq!(dense.timestamp, [1_593_898_068, 0]);
        assert_eq!(outputs.items.genres, [vec!["8"], vec!["27", "9"]]);
        assert_eq!(outputs.users.features["onehot_feat4"], ["", "3.0"]);
        assert_eq!(run(BIG, CATEGORIES, "").unwrap().interactions.rating[1], 573.0);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = |big: &str, categories: &str| run(big, categories, "").err().unwrap().to_string();
        let unknown = error("0,7,1,1,,,1,1\n", CATEGORIES);
        assert!(
            unknown.contains("big_matrix.csv:2: column `video_id`: found \"7\", wanted an id of the side table"),
            "{unknown}"
        );
        let feat = error(BIG, "video_id,feat\n148,8\n");
        assert!(feat.contains("item_categories.csv:2: column `feat`: found \"8\", wanted a list"), "{feat}");
        assert!(error(BIG, "video,feat\n1,[1]\n").contains("has no column `video_id`; it has video, feat"));
    }
}
