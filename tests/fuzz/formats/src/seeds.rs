//! Whole files to damage: small, and of every codec and encoding.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use ::arrow::array::*;
use ::arrow::compute::cast;
use ::arrow::datatypes::{DataType, Field, Int32Type, Schema};
use ::arrow::ipc::CompressionType;
use ::arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, Encoding};
use ::parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use ::safetensors::Dtype;
use ::safetensors::tensor::{TensorView, serialize};
use pipeline::Artifact;
use stages::artifact::{
    Array, Call, Calls, ColumnDistances, Demonstrations, Distances, Factored, Factors, Items, Penalty, QuitRules, Rewards, Rollout,
    Rollouts, SeenPairs, SessionBonus, SetDistances, SetMeasure, Step, Termination, Trajectory, VectorDistances, World,
};

const ROWS: usize = 60;

fn mixed() -> RecordBatch {
    let words = ["drama", "crime", "ü comedy", ""];
    let texts: StringArray = (0..ROWS).map(|row| (row % 5 > 0).then(|| words[row % 4])).collect();
    let genres: DictionaryArray<Int32Type> = (0..ROWS).map(|row| (row % 7 > 0).then(|| words[row % 3])).collect();
    let lists = (0..ROWS).map(|row| (row % 3 > 0).then(|| (0..row % 4).map(|i| Some(i as i32)).collect::<Vec<_>>()));
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter((0..ROWS).map(|row| (row % 6 > 0).then_some(row as i64 * 1000))));
    let pair = StructArray::from(vec![
        (Arc::new(Field::new("a", DataType::Int64, true)), Arc::clone(&numbers)),
        (Arc::new(Field::new("b", DataType::Utf8, true)), Arc::new(texts.clone()) as ArrayRef),
    ]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("number", Arc::clone(&numbers)),
        ("real", cast(&numbers, &DataType::Float32).unwrap()),
        ("day", cast(&cast(&numbers, &DataType::Int32).unwrap(), &DataType::Date32).unwrap()),
        ("price", cast(&numbers, &DataType::Decimal128(20, 2)).unwrap()),
        ("flag", Arc::new((0..ROWS).map(|row| Some(row % 3 == 0)).collect::<BooleanArray>())),
        ("text", Arc::new(texts.clone())),
        ("view", cast(&(Arc::new(texts.clone()) as ArrayRef), &DataType::Utf8View).unwrap()),
        ("bytes", cast(&(Arc::new(texts) as ArrayRef), &DataType::Binary).unwrap()),
        ("genre", Arc::new(genres)),
        ("list", Arc::new(lists)),
        ("pair", Arc::new(pair)),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let metadata = HashMap::from([("kind".to_owned(), "seed".to_owned())]);
    let schema = Schema::new(fields).with_metadata(metadata);
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

pub fn parquet(folder: &Path) -> Vec<Vec<u8>> {
    let batch = mixed();
    let narrow = batch.project(&[0, 5]).unwrap();
    let base = || WriterProperties::builder().set_max_row_group_row_count(Some(25)).set_data_page_row_count_limit(10);
    let plain = base().set_dictionary_enabled(false).set_compression(Compression::UNCOMPRESSED);
    let second = base().set_writer_version(WriterVersion::PARQUET_2_0).set_statistics_enabled(EnabledStatistics::Page);
    let delta = base()
        .set_dictionary_enabled(false)
        .set_column_encoding("number".into(), Encoding::DELTA_BINARY_PACKED)
        .set_column_encoding("text".into(), Encoding::DELTA_BYTE_ARRAY);
    let all = [
        (&batch, plain.build()),
        (&batch, base().set_compression(Compression::SNAPPY).build()),
        (&batch, second.set_compression(Compression::ZSTD(Default::default())).build()),
        (&narrow, delta.set_compression(Compression::UNCOMPRESSED).build()),
        (&narrow, base().set_compression(Compression::LZ4_RAW).build()),
        (&narrow, base().set_compression(Compression::GZIP(Default::default())).build()),
    ];
    let path = folder.join("seed.parquet");
    let file = |(batch, properties): (&RecordBatch, WriterProperties)| {
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        read(&path)
    };
    all.into_iter().map(file).collect()
}

pub fn arrow(folder: &Path) -> Vec<Vec<u8>> {
    let batch = mixed();
    let path = folder.join("seed.arrow");
    let file = |compression| {
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let mut writer =
            FileWriter::try_new_with_options(File::create(&path).unwrap(), &batch.schema(), options).unwrap();
        writer.write(&batch.slice(0, 20)).unwrap();
        writer.write(&batch.slice(20, 40)).unwrap();
        writer.finish().unwrap();
        read(&path)
    };
    [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)].into_iter().map(file).collect()
}

pub fn safetensors(_: &Path) -> Vec<Vec<u8>> {
    let data = vec![0x3f_u8; 96];
    let views = vec![
        ("bias", TensorView::new(Dtype::F32, vec![4, 6], &data).unwrap()),
        ("half", TensorView::new(Dtype::BF16, vec![48], &data).unwrap()),
        ("ids", TensorView::new(Dtype::I64, vec![2, 2, 3], &data).unwrap()),
        ("one", TensorView::new(Dtype::F64, vec![], &data[..8]).unwrap()),
    ];
    vec![serialize(views, Some(HashMap::from([("kind".to_owned(), "seed".to_owned())]))).unwrap()]
}

pub fn artifacts(folder: &Path) -> Vec<Vec<u8>> {
    let step = |item| Step { item, reward: 1.0, candidates: vec![0, 1], scores: vec![0.5, 0.25], call: "k".into() };
    let trajectory = |user| Trajectory { user, steps: vec![step(0), step(1)], end: Termination::Horizon };
    let rollout = |user| Rollout {
        policy: "bc".into(),
        cell: "seed=0".into(),
        user,
        length: 3,
        return_inclusive: 1.0,
        return_exclusive: 0.5,
        distinct_items: 2,
        diversity: 0.5,
        novelty: 6.0,
        top_category: None,
        return_training_world: Some(1.5),
        end: Termination::Similar,
    };
    let call = Call { key: "k".into(), model: "m".into(), request: "{}".into(), answer: "{}".into(), failure: None };
    let items = Items {
        id: vec!["a".into(), "b".into()],
        title: vec!["A".into(), "B".into()],
        year: vec![Some(1999), None],
        genres: vec![vec!["x".into()], vec![]],
        ..Items::default()
    };
    let demonstrations = Demonstrations::new((0..4).map(trajectory).collect());
    vec![
        written(folder, "demonstrations", &demonstrations),
        written(folder, "calls", &Calls(vec![call; 3])),
        written(folder, "items", &items),
        written(folder, "rollouts", &Rollouts((0..4).map(rollout).collect())),
    ]
    .into_iter()
    .chain(worlds(folder))
    .collect()
}

/// Worlds in all forms of rewards, distances and bonuses.
fn worlds(folder: &Path) -> Vec<Vec<u8>> {
    let array = |shape: &[usize]| Array::new(shape, (0..shape.iter().product()).map(|k| 0.5 + k as f32).collect());
    let dense = Rewards::from(array(&[3, 2]));
    let members = vec![Factors::of_product(array(&[3, 2]), array(&[2, 2]))];
    let penalty = Some(Penalty { uncertainty_coef: 0.5, constant: 1.0, floor: Some(0.0) });
    let factored = Rewards::from(Factored { members, range: (1.0, 5.0), penalty });
    let sets = [vec![(0, 1)], vec![(0, 1), (1, 2)]];
    let distances = [
        Distances::from(array(&[2, 2])),
        Distances::Columns(ColumnDistances::new(Some(vec![0, 2]))),
        Distances::Sets(SetDistances::new(SetMeasure::Jaccard, &sets)),
        Distances::Sets(SetDistances::new(SetMeasure::Cosine, &sets)),
        Distances::Vectors(VectorDistances::new(array(&[2, 3]))),
    ];
    let pairs = [((0, 1), 0.5), ((1, 2), 0.25)].into();
    let bonuses = [None, Some(array(&[3, 3]).into()), Some(SessionBonus::Seen(SeenPairs::new(vec![1.0; 3], pairs)))];
    let mut seeds = Vec::new();
    for (k, distance) in distances.into_iter().enumerate() {
        let rewards = if k % 2 == 0 { &dense } else { &factored };
        let mut world = World::new(rewards.clone(), distance, [array(&[3, 1]), array(&[2, 1])], QuitRules::default());
        world.bonus = bonuses[k % 3].clone();
        seeds.push(written(folder, &format!("world{k}"), &world));
    }
    let least = factored.constant(Some(2.0));
    let world = World::new(least, array(&[2, 2]), [array(&[3, 1]), array(&[2, 1])], QuitRules::default());
    seeds.push(written(folder, "constant", &world));
    seeds
}

fn written<A: Artifact>(folder: &Path, name: &str, artifact: &A) -> Vec<u8> {
    let path = folder.join(name);
    artifact.write(&path).unwrap();
    read(&path)
}

pub fn gguf(folder: &Path) -> Vec<Vec<u8>> {
    let path = folder.join("toy.gguf");
    stages::llm::gguf::toy::write_toy(&path).unwrap();
    vec![read(&path)]
}

pub fn atomic(folder: &Path) -> Vec<Vec<u8>> {
    let path = folder.join("toy-log");
    stages::ingest::toy::write_toy(&path).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    // The first lines are as good as all of them, and read faster.
    let short = |path: std::path::PathBuf| read(&path).split_inclusive(|&byte| byte == b'\n').take(80).flatten().copied().collect();
    files.into_iter().map(short).collect()
}
