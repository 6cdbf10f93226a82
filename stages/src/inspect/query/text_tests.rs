//! Tables in text: what is read of them, and what is said where they are none.

use std::path::Path;

use pipeline::inspect::{Format as Style, Request, Show};
use tempfile::tempdir;

use super::super::inspect;
use super::super::testing::inspected;
use super::tests::{answer, left, refused};

#[test]
fn dates_whose_day_nobody_can_tell_stay_texts() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.csv");
    for (written, read) in
        [("12/11/2020", "12/11/2020"), ("12.11.2020 10:00", "12.11.2020 10:00"), ("2020-12-11", "2020-12-11")]
    {
        std::fs::write(&path, format!("id,nan,day\n1,2,{written}\n2,3,{written}\n")).unwrap();
        let found = answer(&path, "select id, nan, day from self");
        assert!(found.starts_with("id,nan,day") && found.contains(&format!("1,2,{read}")), "{found}");
    }
    assert_eq!(left(&path, "day = '2020-12-11'").len(), 2);
}

/// What is said of a file that cannot be read.
fn told(path: &Path, sql: &str) -> String {
    let request = Request { show: Show::Rows, format: Style::Csv, sql: Some(sql.into()), ..Request::default() };
    let mut out = Vec::new();
    let error = inspect(path, &request, &mut out).err();
    format!("{:#}", error.unwrap_or_else(|| panic!("{sql}: {}", String::from_utf8_lossy(&out))))
}

#[test]
fn ids_stay_as_they_are_written() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.csv");
    // The first id that tells is far behind those that types are told from.
    let rows = "1,5,0.5,1\n".repeat(10_500);
    std::fs::write(&path, format!("id,n,x,long\n{rows}00123,6,1.5,18446744073709551615\n")).unwrap();
    let found = answer(&path, "select id, n + 1 as n, x * 2 as x, long from self where id = '00123'");
    assert_eq!(found, "id,n,x,long\n00123,7,3.0,18446744073709551615\n");
    let parts = folder.path().join("parts");
    std::fs::create_dir(&parts).unwrap();
    std::fs::write(parts.join("a.csv"), "id\n1\n").unwrap();
    std::fs::write(parts.join("b.csv"), "id\n007\n").unwrap();
    assert_eq!(answer(&parts, "select id from self order by id"), "id\n007\n1\n");
}

#[test]
fn dates_of_every_file_are_looked_at() {
    let folder = tempdir().unwrap();
    let rows = "2020-01-31,2020-01-31\n".repeat(60_000);
    std::fs::write(folder.path().join("a.csv"), format!("day,other\n{rows}")).unwrap();
    std::fs::write(folder.path().join("b.csv"), "day,other\n01/02/2020,2020-02-01\n").unwrap();
    let request = |sql: &str| Request { sql: Some(sql.into()), ..Request::default() };
    assert_eq!(answer(folder.path(), "select day from self where other > '2020-01-31'"), "day\n01/02/2020\n");
    let error = refused(folder.path(), request("select count(*) as n from self where day > 5"));
    assert!(error.contains("day is str"), "{error}");
}

#[test]
fn rows_of_another_length_are_named_whatever_is_asked() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.csv");
    for (text, wanted) in [
        ("a,b\n1,2\n3\n", "line 3 has 1 field, and the table has 2 columns\nhelp: correct the line"),
        ("a,b\n1,\"2\n\"\n3,4,5\n", "line 4 has 3 fields, and the table has 2 columns"),
        ("a,b\n1,2\n\n", "line 3 is blank, and the table has 2 columns\nhelp: remove the line"),
        ("a,b\n1,\"2\n3,4\n", "line 2 opens a quote that is not closed\nhelp: in a quoted field a quote is doubled"),
        ("a,b\n\"1\"2,3\n", "line 2 has text behind a closing quote\nhelp: "),
        ("a,b\n12\" mix,\"2\"\n", "line 2 has an odd number of quotes in a field that does not begin with one"),
        ("a,b\r1,2\r", "its lines end in a carriage return alone"),
        ("", "has no rows and no columns\nhelp: a table in text has the names"),
        ("\n\n", "has no rows and no columns\nhelp: "),
    ] {
        std::fs::write(&path, text).unwrap();
        for sql in ["select * from self", "select count(*) as n from self"] {
            let error = told(&path, sql);
            assert!(error.contains(wanted), "{text:?}: {error}");
        }
    }
    std::fs::write(&path, b"a,b\n1,\xe9\n").unwrap();
    assert!(
        told(&path, "select a from self").contains("line 2 is no UTF-8\nhelp: "),
        "{}",
        told(&path, "select a from self")
    );
    let parts = folder.path().join("parts");
    std::fs::create_dir(&parts).unwrap();
    std::fs::write(parts.join("a.csv"), "u,i\n1,2\n").unwrap();
    for (text, wanted) in [
        ("u,i\n1\n", "b.csv: line 2 has 1 field"),
        ("i,u\n1,2\n", "b.csv: line 1 names the columns `i`, `u`, and the first file has `u`, `i`\nhelp: "),
        ("u,i,k\n1,2,3\n", "b.csv: line 1 names the columns `u`, `i`, `k`, and the first file has `u`, `i`"),
        ("", "b.csv: has no rows and no columns"),
    ] {
        std::fs::write(parts.join("b.csv"), text).unwrap();
        let error = told(&parts, "select count(*) as n from self");
        assert!(error.contains(wanted), "{text:?}: {error}");
    }
}

#[test]
fn quotes_are_read_as_they_are_meant() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.csv");
    for (text, wanted) in [
        ("\"x\"\"y\",b\n1,\"a\"\"b\"\n", "\"x\"\"y\",b\n1,\"a\"\"b\"\n"),
        ("x\"\"y,b\n1,2\n", "\"x\"\"\"\"y\",b\n1,2\n"),
        ("\"a,b,c,d\";f\n1;2\n", "\"a,b,c,d\",f\n1,2\n"),
        ("a,b\n12\" mix,1\nx\"y,6\nz,3\n", "a,b\n\"12\"\" mix\",1\n\"x\"\"y\",6\nz,3\n"),
        ("a,b\r\n\"1\r\n2\",\"x\"\r\n", "a,b\n\"1\r\n2\",x\n"),
        ("\u{feff}a,b\n1,2\n", "a,b\n1,2\n"),
        ("a,b,a\n1,2,3", "a,b,a_duplicated_0\n1,2,3\n"),
        ("a\n1\n\n3\n", "a\n1\n\n3\n"),
        ("a,b\n", "a,b\n"),
    ] {
        std::fs::write(&path, text).unwrap();
        let rows = Request { show: Show::Rows, format: Style::Csv, ..Request::default() };
        assert_eq!(inspected(&path, &rows), wanted, "{text:?}");
    }
    // Where tabs separate, a quote that is none is a character like any other.
    let path = folder.path().join("x.tsv");
    std::fs::write(&path, "a\tb\n\"Great\" film\t1\n").unwrap();
    assert_eq!(answer(&path, "select a from self"), "a\n\"\"\"Great\"\" film\"\n");
}

#[test]
fn all_records_tell_the_columns_of_json() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.ndjson");
    let rows = "{\"id\":1,\"n\":1}\n".repeat(10_500);
    let late = "{\"id\":\"x1\",\"n\":1.5,\"late\":7,\"long\":18446744073709551615}\n";
    std::fs::write(&path, rows + "\n" + late).unwrap();
    let found = answer(&path, "select id, n, late, long from self where late = 7");
    assert_eq!(found, "id,n,late,long\nx1,1.5,7,18446744073709551615\n");
    assert_eq!(answer(&path, "select count(*) as n from self where id = '1'"), "n\n10500\n");
    let parts = folder.path().join("parts");
    std::fs::create_dir(&parts).unwrap();
    std::fs::write(parts.join("a.ndjson"), "{\"u\":1}\n").unwrap();
    std::fs::write(parts.join("b.ndjson"), "{\"i\":\"x\",\"u\":2}\n").unwrap();
    assert_eq!(answer(&parts, "select u, i from self order by u"), "u,i\n1,\n2,x\n");
    for (text, wanted) in [
        ("{\"u\":1}\n\n{\"u\":\n", "b.ndjson: line 3 is no JSON object ("),
        ("[1]\n", "b.ndjson: line 1 is no JSON object ("),
        ("{\"u\":{\"a\":1}}\n", "b.ndjson: line 1: `u` is struct"),
    ] {
        std::fs::write(parts.join("b.ndjson"), text).unwrap();
        let error = told(&parts, "select count(*) as n from self");
        assert!(error.contains(wanted) && error.contains("\nhelp: "), "{text:?}: {error}");
    }
    std::fs::write(&path, "").unwrap();
    assert!(told(&path, "select 1 as n from self").contains("has no rows and no columns\nhelp: "));
}

#[test]
fn a_packed_text_is_no_table() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.csv");
    std::fs::write(&path, b"\x1f\x8b\x08\0\0\0\0\0").unwrap();
    assert!(told(&path, "select * from self").contains("is packed with gzip"), "{}", told(&path, "select * from self"));
}

#[test]
fn names_that_polars_takes_for_patterns_are_none() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x.csv");
    std::fs::write(&path, "*,^a$,ab\n1,2,3\n").unwrap();
    let error = told(&path, "select count(*) as n from self");
    assert!(error.contains("its column `*` is called as a pattern of columns is\nhelp: write the file"), "{error}");
    let rows = Request { show: Show::Rows, format: Style::Csv, tail: Some(1), ..Request::default() };
    assert_eq!(inspected(&path, &rows), "*,^a$,ab\n1,2,3\n");
    std::fs::write(&path, "a,ab\n1,2\n").unwrap();
    for name in ["^a.*$", "*"] {
        for sql in [format!("select \"{name}\" from self"), format!("select self.\"{name}\" from self")] {
            let error = told(&path, &sql);
            assert!(error.contains(&format!("there is no column `{name}`")), "{sql}: {error}");
        }
    }
    let twice = told(&path, "select count(*), count(*) from self");
    assert!(twice.contains("two columns of the answer have the same name: `len`\nhelp: name each with AS"), "{twice}");
}
