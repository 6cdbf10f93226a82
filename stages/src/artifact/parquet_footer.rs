//! The footer of a Parquet file walked over before the parquet crate reads it.
//!
//! The crate builds the schema by recursion and believes the lengths of lists: a footer of a few kilobytes could end the
//! whole program by its stack or its memory, which no `catch_panics` catches. Here every length is compared with the footer's,
//! and the depth of the schema is measured. The footer is a struct in Thrift's compact protocol.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context as _, Result, bail, ensure};

/// How deep a schema may be nested.
const DEEPEST_SCHEMA: usize = 100;
/// How deep the footer's own structs may be nested.
const DEEPEST: usize = 32;
/// `FileMetaData.schema`, a list of `SchemaElement`.
const SCHEMA: i64 = 2;
/// `FileMetaData.encryption_algorithm`: there where a footer in clear stands behind columns that are not.
const ENCRYPTION: i64 = 8;
/// `SchemaElement.num_children`.
const CHILDREN: i64 = 5;

// Types of the compact protocol.
const STOP: u8 = 0;
const I32: u8 = 5;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Checks the footer of `length` bytes before the last 8; says whether columns of the file are encrypted.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(file: &mut File, bytes: u64, length: u64) -> Result<bool> {
    let mut footer = vec![0; usize::try_from(length)?];
    file.seek(SeekFrom::Start(bytes - 8 - length))?;
    file.read_exact(&mut footer)?;
    walk(&footer)
}

fn walk(footer: &[u8]) -> Result<bool> {
    let mut reader = Reader { rest: footer };
    let (mut field, mut encrypted) = (0, false);
    let mut children = Vec::new();
    while let Some(kind) = reader.field(&mut field)? {
        if field == SCHEMA && kind == LIST {
            let (kind, count) = reader.list()?;
            ensure!(kind == STRUCT, "its schema is a list of type {kind}");
            for _ in 0..count {
                children.push(reader.schema_element()?);
            }
        } else {
            encrypted |= field == ENCRYPTION;
            reader.skip(kind, DEEPEST)?;
        }
    }
    check_depth(&children)?;
    Ok(encrypted)
}

/// The schema is its tree, depth first; of each element the number of children.
fn check_depth(children: &[u64]) -> Result<()> {
    let mut open: Vec<u64> = Vec::new();
    for &count in children {
        if let Some(last) = open.last_mut() {
            *last -= 1;
        }
        open.push(count);
        while open.last() == Some(&0) {
            open.pop();
        }
        ensure!(open.len() <= DEEPEST_SCHEMA, "its schema is nested deeper than {DEEPEST_SCHEMA} levels");
    }
    Ok(())
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take(&mut self, count: u64) -> Result<()> {
        let count = usize::try_from(count).ok().filter(|&count| count <= self.rest.len());
        let count = count.context("it ends inside a value")?;
        self.rest = &self.rest[count..];
        Ok(())
    }

    fn byte(&mut self) -> Result<u8> {
        let (&first, rest) = self.rest.split_first().context("it ends inside a value")?;
        self.rest = rest;
        Ok(first)
    }

    /// An unsigned number, seven bits a byte, the lowest first.
    fn number(&mut self) -> Result<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        bail!("it holds a number of more than 64 bits")
    }

    /// A signed number: 0, −1, 1, −2 … are written 0, 1, 2, 3 ….
    fn signed(&mut self) -> Result<i64> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// Moves on to the next field of a struct: its type, `None` at the end, and its id into `field`.
    fn field(&mut self, field: &mut i64) -> Result<Option<u8>> {
        let head = self.byte()?;
        if head == STOP {
            return Ok(None);
        }
        *field = match head >> 4 {
            0 => self.signed()?,
            step => field.saturating_add(step.into()),
        };
        Ok(Some(head & 0x0f))
    }

    /// The type and number of the elements of a list. Each takes a byte at least.
    fn list(&mut self) -> Result<(u8, u64)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.number()?,
            count => count.into(),
        };
        ensure!(count <= self.rest.len() as u64, "a list of {count} elements in {} bytes", self.rest.len());
        Ok((head & 0x0f, count))
    }

    fn schema_element(&mut self) -> Result<u64> {
        let (mut field, mut children) = (0, 0);
        while let Some(kind) = self.field(&mut field)? {
            if field == CHILDREN && kind == I32 {
                children = u64::try_from(self.signed()?).unwrap_or(0);
            } else {
                self.skip(kind, DEEPEST)?;
            }
        }
        Ok(children)
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Result<()> {
        ensure!(depth > 0, "it is nested deeper than {DEEPEST} levels");
        match kind {
            // True and false are told by the type itself.
            1 | 2 => Ok(()),
            3 => self.take(1),
            4..=6 => self.number().map(drop),
            7 => self.take(8),
            8 => {
                let length = self.number()?;
                self.take(length)
            }
            9 | 10 => {
                let (kind, count) = self.list()?;
                for _ in 0..count {
                    // But not inside a list.
                    if matches!(kind, 1 | 2) { self.take(1)? } else { self.skip(kind, depth - 1)? }
                }
                Ok(())
            }
            STRUCT => {
                let mut field = 0;
                while let Some(kind) = self.field(&mut field)? {
                    self.skip(kind, depth - 1)?;
                }
                Ok(())
            }
            other => bail!("it holds a value of type {other}, which no Parquet footer does"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer with a schema of groups inside groups.
    fn nested(depth: usize) -> Vec<u8> {
        // Field 2, a list of structs, its length as a number of two bytes.
        let mut footer = vec![0x29, 0xfc, (depth as u8 & 0x7f) | 0x80, (depth >> 7) as u8];
        for _ in 0..depth {
            // Field 5, i32: one child.
            footer.extend([0x55, 2, 0]);
        }
        footer.push(0);
        footer
    }

    #[test]
    fn a_schema_that_would_overflow_the_stack_is_refused() {
        walk(&nested(90)).unwrap();
        let error = walk(&nested(10_000)).unwrap_err().to_string();
        assert_eq!(error, "its schema is nested deeper than 100 levels");
    }

    #[test]
    fn a_list_longer_than_the_footer_is_refused() {
        let footer = [0x29, 0xfc, 0xff, 0xff, 0xff, 0x7f, 0];
        assert_eq!(walk(&footer).unwrap_err().to_string(), "a list of 268435455 elements in 1 bytes");
        assert_eq!(walk(&[0x18, 0x7f, 0]).unwrap_err().to_string(), "it ends inside a value");
    }

    #[test]
    fn columns_that_are_encrypted_are_seen() {
        // Field 8, a struct with nothing in it.
        assert!(walk(&[0x8c, 0, 0]).unwrap());
        assert!(!walk(&[0x7c, 0, 0]).unwrap());
    }

    #[test]
    fn deep_structs_end_in_an_error() {
        let error = walk(&[0x1c; 100_000]).unwrap_err().to_string();
        assert_eq!(error, "it is nested deeper than 32 levels");
    }
}
