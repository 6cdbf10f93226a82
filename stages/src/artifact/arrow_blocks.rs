//! The frame of an Arrow file checked before the arrow crate reads it.
//!
//! The crate takes a damaged length at its word: it panics, or asks for more memory than there is, which ends the whole
//! program. Every length it will take as given is compared here with the file first.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context as _, Result, anyhow, ensure};
use arrow::ipc::{Block, RecordBatch, root_as_footer, root_as_message};

/// Checks every batch and dictionary that the footer announces; gives the rows of each batch. The footer is `footer` bytes
/// long and followed by 10 more.
///
/// # Errors
/// When a block or buffer does not lie where it is said to, or is said to hold more than the memory can.
pub(crate) fn check(file: &mut File, bytes: u64, footer: u64) -> Result<Vec<u64>> {
    let end = bytes - 10 - footer;
    let mut read = vec![0; usize::try_from(footer)?];
    file.seek(SeekFrom::Start(end))?;
    file.read_exact(&mut read)?;
    let footer = root_as_footer(&read).map_err(|error| anyhow!("the footer: {error}"))?;
    let mut rows = Vec::new();
    let dictionaries = footer.dictionaries().into_iter().flatten().map(|block| (block, false));
    let batches = footer.recordBatches().into_iter().flatten().map(|block| (block, true));
    for (index, (block, is_batch)) in dictionaries.chain(batches).enumerate() {
        let found = check_block(file, block, end).with_context(|| format!("block {index}"))?;
        if is_batch {
            rows.push(found);
        }
    }
    Ok(rows)
}

/// Gives the rows that the block announces.
fn check_block(file: &mut File, block: &Block, end: u64) -> Result<u64> {
    let (offset, body) = (u64::try_from(block.offset())?, u64::try_from(block.bodyLength())?);
    let length = u64::try_from(block.metaDataLength())?;
    let inside = offset.checked_add(length).and_then(|start| start.checked_add(body)).is_some_and(|last| last <= end);
    ensure!(inside && length > 8, "{length} + {body} bytes at {offset} of {end}");

    let mut message = vec![0; usize::try_from(length)?];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut message)?;
    // Older files have no continuation marker before the length.
    let start = if message.starts_with(&[0xff; 4]) { 8 } else { 4 };
    let message = root_as_message(&message[start..]).map_err(|error| anyhow!("{error}"))?;
    let dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    let Some(batch) = message.header_as_record_batch().or(dictionary) else { return Ok(0) };
    check_buffers(file, &batch, offset + length, body)?;
    Ok(u64::try_from(batch.length())?)
}

fn check_buffers(file: &mut File, batch: &RecordBatch<'_>, start: u64, body: u64) -> Result<()> {
    for buffer in batch.buffers().into_iter().flatten() {
        let (offset, length) = (u64::try_from(buffer.offset())?, u64::try_from(buffer.length())?);
        ensure!(
            offset.checked_add(length).is_some_and(|last| last <= body),
            "a buffer of {length} bytes at {offset} of {body}"
        );
        if batch.compression().is_some() && length > 0 {
            let mut unpacked = [0; 8];
            file.seek(SeekFrom::Start(start + offset))?;
            file.read_exact(&mut unpacked)?;
            // −1 says that the buffer was left as it is.
            let unpacked = i64::from_le_bytes(unpacked).max(0);
            let room = Vec::<u8>::new().try_reserve_exact(usize::try_from(unpacked)?);
            ensure!(room.is_ok(), "a buffer of {length} bytes that is said to unpack to {unpacked}");
        }
    }
    Ok(())
}
