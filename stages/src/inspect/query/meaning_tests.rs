//! What numbers mean in a query.

use std::path::Path;
use std::sync::Arc;

use arrow::array::*;
use pipeline::inspect::Request;
use tempfile::tempdir;

use super::super::testing::parquet;
use super::tests::{answer, films, left, refused};

#[test]
fn nan_and_missing_values_compare_as_they_did() {
    let folder = tempdir().unwrap();
    let path = parquet(folder.path(), &films());
    for (filter, wanted) in [
        // NaN is neither larger nor smaller; only `!=` holds of it.
        ("rating > 99 or user = 3", &[2][..]),
        ("rating > 99", &[]),
        ("99 < rating", &[]),
        ("rating >= 0", &[0]),
        ("rating between 0 and 99", &[0]),
        ("not rating > 99", &[0, 2]),
        // A missing value makes neither a test nor its opposite true, but the rest of an `or` still counts.
        ("rating < 1 or not rating < 1", &[0, 2]),
        ("rating = 1 or user = 2", &[1]),
    ] {
        assert_eq!(left(&path, filter), wanted, "{filter}");
    }
}

/// Every pair of NaN, numbers and missing values, and what IEEE 754 and SQL say of it.
#[test]
fn two_columns_compare_as_numbers_do_not_as_polars_sorts_them() {
    let folder = tempdir().unwrap();
    let values = [Some(f64::NAN), Some(f64::INFINITY), Some(1.0), Some(0.0), None];
    let pairs: Vec<_> = values.iter().flat_map(|a| values.iter().map(move |b| (*a, *b))).collect();
    let batch = RecordBatch::try_from_iter([
        ("a", Arc::new(Float64Array::from_iter(pairs.iter().map(|pair| pair.0))) as ArrayRef),
        ("b", Arc::new(Float64Array::from_iter(pairs.iter().map(|pair| pair.1)))),
        ("n", Arc::new(Int64Array::from_iter(pairs.iter().map(|_| Some(1))))),
    ])
    .unwrap();
    let path = parquet(folder.path(), &batch);
    type Holds = fn(&f64, &f64) -> bool;
    let compare: [(&str, Holds); 6] =
        [("=", f64::eq), ("!=", f64::ne), ("<", f64::lt), ("<=", f64::le), (">", f64::gt), (">=", f64::ge)];
    let rows = |wanted: &dyn Fn(f64, f64) -> bool| -> Vec<u64> {
        let is_wanted = |pair: &(Option<f64>, Option<f64>)| pair.0.zip(pair.1).is_some_and(|(a, b)| wanted(a, b));
        (0..).zip(&pairs).filter(|(_, pair)| is_wanted(pair)).map(|(row, _)| row).collect()
    };
    for (sign, holds) in compare {
        for filter in [
            format!("a {sign} b"),
            format!("a + 0 {sign} b * 1"),
            format!("(case when a {sign} b then 1 else 0 end) = 1"),
        ] {
            assert_eq!(left(&path, &filter), rows(&|a, b| holds(&a, &b)), "{filter}");
        }
        // A missing value makes neither a test nor its opposite true.
        assert_eq!(left(&path, &format!("not a {sign} b")), rows(&|a, b| !holds(&a, &b)), "not a {sign} b");
        let first = |wanted: &dyn Fn(f64) -> bool| -> Vec<u64> {
            let is_wanted = |pair: &(Option<f64>, Option<f64>)| pair.0.is_some_and(wanted);
            (0..).zip(&pairs).filter(|(_, pair)| is_wanted(pair)).map(|(row, _)| row).collect()
        };
        assert_eq!(left(&path, &format!("a {sign} n")), first(&|a| holds(&a, &1.0)), "a {sign} n");
        assert_eq!(left(&path, &format!("a + 0 {sign} 1")), first(&|a| holds(&a, &1.0)), "a + 0 {sign} 1");
        assert_eq!(left(&path, &format!("1 {sign} -a")), first(&|a| holds(&1.0, &-a)), "1 {sign} -a");
    }
    assert_eq!(left(&path, "a between 0 and b"), rows(&|a, b| a >= 0.0 && a <= b));
    assert_eq!(left(&path, "a + 0 not between 0 and b"), rows(&|a, b| a < 0.0 || a > b));
    for (call, wanted) in [("greatest(a, b)", "max"), ("least(b, a)", "min"), ("greatest(b, a, 0.5)", "half")] {
        let found = answer(&path, &format!("select {call} as m from self"));
        let value = |(a, b): &(Option<f64>, Option<f64>)| {
            let half = Some(0.5).filter(|_| wanted == "half");
            let all = [*a, *b, half].into_iter().flatten();
            // Of f64, too, `max` and `min` leave NaN out.
            let chosen = all.reduce(if wanted == "min" { f64::min } else { f64::max });
            chosen.map_or_else(String::new, |value| format!("{value:?}"))
        };
        let wanted: Vec<String> = pairs.iter().map(value).collect();
        assert_eq!(found, format!("m\n{}\n", wanted.join("\n")), "{call}");
    }
    let joined = "with t as (select a + 0 as c, b from self) select count(*) as n from t where c > b";
    assert_eq!(answer(&path, joined), format!("n\n{}\n", rows(&|a, b| a > b).len()));
    let grouped = "select n, max(a) as m from self group by n having sum(a) > 0";
    assert_eq!(answer(&path, grouped), "n,m\n", "a sum with NaN is no number");
}

#[test]
fn sums_and_products_do_not_wrap_around() {
    let folder = tempdir().unwrap();
    let batch = RecordBatch::try_from_iter([
        ("small", Arc::new(Int32Array::from(vec![i32::MAX, i32::MAX])) as ArrayRef),
        ("byte", Arc::new(UInt8Array::from(vec![255, 255]))),
        ("large", Arc::new(Int64Array::from(vec![i64::MAX, i64::MAX]))),
        ("whole", Arc::new(UInt64Array::from(vec![u64::MAX, 1]))),
        ("real", Arc::new(Float32Array::from(vec![16_777_216.0, 1.0]))),
    ])
    .unwrap();
    let path = parquet(folder.path(), &batch);
    let sums = answer(&path, "select sum(small) a, sum(byte) b, sum(large) c, sum(whole) d, sum(real) e from self");
    let (a, c, d) = (2 * i64::from(i32::MAX), 2 * i128::from(i64::MAX), i128::from(u64::MAX) + 1);
    assert!(sums.contains(&format!("{a},510,{c},{d},16777217.0")), "{sums}");
    let more = answer(&path, "select small + 1 as a, byte * byte as b, byte - 256 as c from self limit 1");
    assert!(more.contains(&format!("{},65025,-1", i64::from(i32::MAX) + 1)), "{more}");
    assert_eq!(left(&path, "small + 1 > 2147483647"), [0, 1]);
}

fn told(path: &Path, sql: &str) -> String {
    refused(path, Request { sql: Some(sql.into()), ..Request::default() })
}

#[test]
fn an_integer_that_does_not_fit_is_an_error() {
    let folder = tempdir().unwrap();
    let batch = RecordBatch::try_from_iter([
        ("a", Arc::new(Int64Array::from(vec![i64::MAX, 2])) as ArrayRef),
        ("b", Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
        ("c", Arc::new(UInt64Array::from(vec![u64::MAX, 3]))),
        ("d", Arc::new(Int32Array::from(vec![i32::MIN, 4]))),
    ])
    .unwrap();
    let path = parquet(folder.path(), &batch);
    for (sql, found) in [
        ("9223372036854775800 + a", "9223372036854775800 + 9223372036854775807"),
        ("a * 2", "9223372036854775807 * 2"),
        ("sum(a + a)", "9223372036854775807 + 9223372036854775807"),
        ("-b", "0 - -9223372036854775808"),
        ("b - 1", "-9223372036854775808 - 1"),
        ("abs(b)", "abs(-9223372036854775808)"),
        ("power(a, 2)", "power(9223372036854775807, 2)"),
        ("b // -1", "-9223372036854775808 // -1"),
        ("c + 1", "18446744073709551615 + 1"),
        ("c - 4", "3 - 4"),
        ("max(a) + 1", "9223372036854775807 + 1"),
        ("9223372036854775807 + 1", "9223372036854775807 + 1"),
    ] {
        let error = told(&path, &format!("select {sql} as x from self"));
        let wanted =
            format!("cannot be computed: {found} is beyond the integers of 64 bits\nhelp: compute with `CAST(");
        assert!(error.contains(&wanted), "{sql}: {error}");
    }
    let wide = "select cast(a as decimal(38, 0)) * 4 as x from self";
    assert_eq!(answer(&path, wide), "x\n36893488147419103228\n8\n");
    let far = "select cast(a as decimal(38, 0)) * cast(a as decimal(38, 0)) * 1000 as x from self";
    assert!(told(&path, far).contains("cannot be computed: overflow in decimal"), "{}", told(&path, far));
    for (sql, wanted) in [
        ("a - 1", "9223372036854775806\n1"),
        ("c - 3", "18446744073709551612\n0"),
        ("-d", "2147483648\n-4"),
        ("abs(d)", "2147483648\n4"),
        ("power(d, 2)", "4611686018427387904\n16"),
        ("a // 0", "\n"),
        ("d // 3", "-715827883\n1"),
        ("b + 1", "-9223372036854775807\n"),
        ("1 + 1", "2\n2"),
        ("sum(a) over (order by d)", "9223372036854775807\n9223372036854775809"),
        ("a / 2", "4.611686018427388e18\n1.0"),
        ("a % 10", "7\n2"),
    ] {
        assert_eq!(answer(&path, &format!("select {sql} as x from self")), format!("x\n{wanted}\n"), "{sql}");
    }
    assert_eq!(left(&path, "d + 1 > 4 or a - 1 < 2"), [1]);
}

#[test]
fn rows_are_joined_by_any_test() {
    let folder = tempdir().unwrap();
    let batch = RecordBatch::try_from_iter([
        ("u", Arc::new(Int64Array::from(vec![1, 3, 2])) as ArrayRef),
        ("v", Arc::new(Int64Array::from(vec![2, 1, 5]))),
        ("x", Arc::new(Float64Array::from(vec![f64::NAN, 1.0, 2.0]))),
    ])
    .unwrap();
    let path = parquet(folder.path(), &batch);
    for (from, pairs) in [
        ("self a join self b on a.u > b.v", "2,1\n3,1\n3,2\n"),
        ("self a, self b where a.u > b.v", "2,1\n3,1\n3,2\n"),
        ("self a cross join self b where a.u > b.v", "2,1\n3,1\n3,2\n"),
        ("self a join self b on a.u > b.v and a.u = b.u", "3,1\n"),
        ("self a join self b on a.u >= b.v and a.u <= b.v + 1", "1,1\n2,1\n2,2\n3,2\n"),
        ("self a join self b on a.x > b.x", "2,1\n"),
        ("self a join self b on a.x <= b.x", "2,5\n3,1\n3,5\n"),
        ("self a left join self b on a.u = b.v", "1,1\n2,2\n3,\n"),
    ] {
        let sql = format!("select a.u as u, b.v as v from {from} order by u, v");
        assert_eq!(answer(&path, &sql), format!("u,v\n{pairs}"), "{sql}");
    }
    let outer = told(&path, "select a.u as u, b.v as v from self a left join self b on a.u > b.v");
    assert!(outer.contains("an outer join takes no test but `=`") && outer.contains("\nhelp: "), "{outer}");
}
