//! The parts of an image's archive: blobs by their digests, and entries of a tar file.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use ring::digest::{Context as Sha256, SHA256};
use serde_json::{Value, json};

/// Part of an archive; the text is empty for a layer.
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) text: String,
}

impl Blob {
    pub(super) fn of(value: &Value) -> Self {
        let text = value.to_string();
        let mut hash = Sha256::new(&SHA256);
        hash.update(text.as_bytes());
        Self { digest: digest(hash), size: text.len() as u64, text }
    }

    pub(super) fn path(&self) -> String {
        format!("blobs/{}", self.digest.replace(':', "/"))
    }

    pub(super) fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.size})
    }
}

/// A file that is hashed while it is written.
pub(super) struct Hashed {
    file: File,
    hash: Sha256,
    size: u64,
}

impl Hashed {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create(path)?, hash: Sha256::new(&SHA256), size: 0 })
    }

    /// The layer that the file is.
    pub(super) fn finish(self) -> Blob {
        Blob { digest: digest(self.hash), size: self.size, text: String::new() }
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn digest(hash: Sha256) -> String {
    let hex: String = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

pub(super) fn append(
    tar: &mut tar::Builder<impl Write>,
    place: &Path,
    size: u64,
    content: impl io::Read,
) -> io::Result<()> {
    tar.append_data(&mut header(tar::EntryType::Regular, 0o755, size), place, content)
}

pub(super) fn append_folder(
    tar: &mut tar::Builder<impl Write>,
    place: &Path,
    mode: u32,
) -> io::Result<()> {
    tar.append_data(&mut header(tar::EntryType::Directory, mode, 0), place, io::empty())
}

pub(super) fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header
}
