//! The content of a scan file as a stream: decompressed where it is gzipped, hashed as it lies on disk.
//!
//! What the bytes are decides, never the name. Gzip members are read as one stream, each with its checksum verified;
//! nothing here knows about headers or voxels.

use std::io::Read;
use std::path::Path;

use flate2::{Decompress, FlushDecompress, Status};

use super::archive::open_bytes;
use super::error::ReadProblem;

/// Bytes taken from the file at once.
const CHUNK: usize = 1 << 18;
/// The same for small files; room for what is looked at before it is taken.
const SMALLEST_CHUNK: usize = 512;
/// Decompressed bytes after the last voxel that are ignored (footers, padding).
const SURPLUS_LIMIT: u64 = 1 << 20;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// An open scan file, or a member of an archive.
pub(super) struct Content {
    file: Box<dyn Read + Send>,
    file_bytes: u64,
    hasher: blake3::Hasher,
    chunk: Vec<u8>,
    /// The unread part of `chunk`.
    unread: std::ops::Range<usize>,
    file_ended: bool,
    gzip: Option<Member>,
    delivered: u64,
    warnings: Vec<String>,
}

/// Where the stream stands among the gzip members.
enum Member {
    Inside(Box<Decompress>),
    /// No further member follows.
    Ended,
}

impl Content {
    /// Opens a regular file or a member of an archive; a pipe or a device is refused before it could block.
    pub(super) fn open(path: &Path) -> Result<Self, ReadProblem> {
        let Some(opened) = open_bytes(path)? else {
            return Err(if path.is_dir() {
                ReadProblem::IsDirectory
            } else {
                ReadProblem::NotRegular
            });
        };
        if opened.bytes == 0 {
            return Err(ReadProblem::Empty);
        }
        let mut content = Self {
            file: opened.reader,
            file_bytes: opened.bytes,
            hasher: blake3::Hasher::new(),
            chunk: vec![0; (opened.bytes as usize).clamp(SMALLEST_CHUNK, CHUNK)],
            unread: 0..0,
            file_ended: false,
            gzip: None,
            delivered: 0,
            warnings: Vec::new(),
        };
        content.fill_to(GZIP_MAGIC.len())?;
        if content.peek().starts_with(&GZIP_MAGIC) {
            content.gzip = Some(Member::Inside(Box::new(Decompress::new_gzip(15))));
        }
        Ok(content)
    }

    /// Whether the file is gzipped.
    pub(super) fn is_gzipped(&self) -> bool {
        self.gzip.is_some()
    }

    /// Size of the file on disk.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Bytes of content handed out so far.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Fills `out` as far as the content reaches and says how far.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, ReadProblem> {
        let mut filled = 0;
        while filled < out.len() {
            let n = match self.gzip {
                Some(_) => self.inflate(&mut out[filled..])?,
                None => self.copy(&mut out[filled..])?,
            };
            if n == 0 {
                break;
            }
            filled += n;
        }
        self.delivered += filled as u64;
        Ok(filled)
    }

    /// Reads what follows the voxels, verifies the last checksum and returns the hash of the file with what there is
    /// to warn about.
    pub(super) fn finish(mut self) -> Result<(blake3::Hash, Vec<String>), ReadProblem> {
        let (mut surplus, mut not_zero) = (0, false);
        let mut scratch = vec![0; 1 << 16];
        if self.gzip.is_none() && self.file_bytes > self.delivered + SURPLUS_LIMIT {
            return Err(ReadProblem::SurplusData {
                limit: SURPLUS_LIMIT,
            });
        }
        loop {
            let n = self.read(&mut scratch)?;
            if n == 0 {
                break;
            }
            surplus += n as u64;
            not_zero |= scratch[..n].iter().any(|byte| *byte != 0);
            if surplus > SURPLUS_LIMIT {
                return Err(ReadProblem::SurplusData {
                    limit: SURPLUS_LIMIT,
                });
            }
        }
        if not_zero {
            self.warnings.push(format!(
                "{surplus} trailing bytes after the voxels were ignored"
            ));
        }
        Ok((self.hasher.finalize(), self.warnings))
    }

    fn peek(&self) -> &[u8] {
        &self.chunk[self.unread.clone()]
    }

    /// Makes `n` bytes of the file available, or as many as there are.
    fn fill_to(&mut self, n: usize) -> Result<(), ReadProblem> {
        if self.unread.len() >= n || self.file_ended {
            return Ok(());
        }
        self.chunk.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        while self.unread.end < n && !self.file_ended {
            let read = match self.file.read(&mut self.chunk[self.unread.end..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                answer => answer?,
            };
            self.hasher
                .update(&self.chunk[self.unread.end..self.unread.end + read]);
            self.unread.end += read;
            self.file_ended = read == 0;
        }
        Ok(())
    }

    fn copy(&mut self, out: &mut [u8]) -> Result<usize, ReadProblem> {
        self.fill_to(1)?;
        let n = out.len().min(self.unread.len());
        out[..n].copy_from_slice(&self.peek()[..n]);
        self.unread.start += n;
        Ok(n)
    }

    fn inflate(&mut self, out: &mut [u8]) -> Result<usize, ReadProblem> {
        loop {
            self.fill_to(1)?;
            let Some(Member::Inside(member)) = &mut self.gzip else {
                return Ok(0);
            };
            let (read, written) = (member.total_in(), member.total_out());
            let input = &self.chunk[self.unread.clone()];
            let status = member
                .decompress(input, out, FlushDecompress::None)
                .or(Err(ReadProblem::CorruptGzip))?;
            let consumed = (member.total_in() - read) as usize;
            let produced = (member.total_out() - written) as usize;
            self.unread.start += consumed;
            if status == Status::StreamEnd {
                self.begin_next_member()?;
            } else if consumed == 0 && produced == 0 && self.unread.is_empty() && self.file_ended {
                return Err(ReadProblem::TruncatedGzip);
            } else if consumed == 0 && produced == 0 && !self.unread.is_empty() {
                return Err(ReadProblem::CorruptGzip);
            }
            if produced > 0 {
                return Ok(produced);
            }
        }
    }

    /// After a member: another one, padding with zero bytes, or something foreign that is skipped with a warning.
    fn begin_next_member(&mut self) -> Result<(), ReadProblem> {
        self.fill_to(GZIP_MAGIC.len())?;
        if self.peek().starts_with(&GZIP_MAGIC) {
            self.gzip = Some(Member::Inside(Box::new(Decompress::new_gzip(15))));
            return Ok(());
        }
        self.gzip = Some(Member::Ended);
        let (mut skipped, mut not_zero) = (0u64, false);
        loop {
            self.fill_to(1)?;
            if self.unread.is_empty() {
                break;
            }
            skipped += self.unread.len() as u64;
            not_zero |= self.peek().iter().any(|byte| *byte != 0);
            self.unread.start = self.unread.end;
        }
        if not_zero {
            self.warnings.push(format!(
                "{skipped} trailing bytes after the gzip data were ignored"
            ));
        }
        Ok(())
    }
}
