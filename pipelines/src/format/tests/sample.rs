//! Small files made byte by byte, from the offsets in nifti1.h and nifti2.h.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::header::{ByteOrder, Storage, Version};

/// A file to be: NIfTI-1, little-endian int16, 3×2×2 voxels of 1 mm, RAS+, unless changed.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) order: ByteOrder,
    pub(super) version: Version,
    pub(super) code: i16,
    pub(super) shape: [i16; 3],
    pub(super) slope: f32,
    pub(super) inter: f32,
    pub(super) flip_x: bool,
    pub(super) storage: Storage,
}

pub(super) const SAMPLE: Sample = Sample {
    order: ByteOrder::Little,
    version: Version::One,
    code: 4,
    shape: [3, 2, 2],
    slope: 1.0,
    inter: 0.0,
    flip_x: false,
    storage: Storage::Single,
};

pub(super) const STORED: [f64; 12] = [
    0.0, 1.0, 2.0, 3.0, 40.0, 50.0, 60.0, 70.0, 80.0, 99.0, 100.0, 127.0,
];

impl Sample {
    fn put<const N: usize>(&self, bytes: &mut [u8], at: usize, mut field: [u8; N]) {
        if self.order == ByteOrder::Big {
            field.reverse();
        }
        bytes[at..at + N].copy_from_slice(&field);
    }

    pub(super) fn header(&self) -> Vec<u8> {
        let two = self.version == Version::Two;
        let pair = self.storage == Storage::Pair;
        let mut head = vec![0; if two { 544 } else { 352 }];
        let rank_and_shape = [3, self.shape[0], self.shape[1], self.shape[2]];
        let x = if self.flip_x { -1.0 } else { 1.0 };
        let srow = [
            [x, 0.0, 0.0, 10.0],
            [0.0, 1.0, 0.0, 20.0],
            [0.0, 0.0, 1.0, 30.0],
        ];
        let start = if pair { 0 } else { head.len() as i64 };
        let announced = head.len() as i32 - 4;
        self.put(&mut head, 0, announced.to_le_bytes());
        if two {
            let magic: &[u8; 8] = if pair {
                b"ni2\0\r\n\x1a\n"
            } else {
                b"n+2\0\r\n\x1a\n"
            };
            head[4..12].copy_from_slice(magic);
            self.put(&mut head, 12, self.code.to_le_bytes());
            for (i, side) in rank_and_shape.into_iter().enumerate() {
                self.put(&mut head, 16 + 8 * i, i64::from(side).to_le_bytes());
                self.put(&mut head, 104 + 8 * i, 1_f64.to_le_bytes());
            }
            self.put(&mut head, 168, start.to_le_bytes());
            self.put(&mut head, 176, f64::from(self.slope).to_le_bytes());
            self.put(&mut head, 184, f64::from(self.inter).to_le_bytes());
            self.put(&mut head, 348, 1_i32.to_le_bytes());
            srow.concat()
                .iter()
                .enumerate()
                .for_each(|(i, v)| self.put(&mut head, 400 + 8 * i, f64::to_le_bytes(*v)));
        } else {
            head[344..348].copy_from_slice(if pair { b"ni1\0" } else { b"n+1\0" });
            self.put(&mut head, 70, self.code.to_le_bytes());
            for (i, side) in rank_and_shape.into_iter().enumerate() {
                self.put(&mut head, 40 + 2 * i, side.to_le_bytes());
                self.put(&mut head, 76 + 4 * i, 1_f32.to_le_bytes());
            }
            self.put(&mut head, 108, (start as f32).to_le_bytes());
            self.put(&mut head, 112, self.slope.to_le_bytes());
            self.put(&mut head, 116, self.inter.to_le_bytes());
            self.put(&mut head, 254, 1_i16.to_le_bytes());
            srow.concat()
                .iter()
                .enumerate()
                .for_each(|(i, v)| self.put(&mut head, 280 + 4 * i, (*v as f32).to_le_bytes()));
        }
        head
    }

    pub(super) fn voxels(&self, values: &[f64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for v in values.iter().copied() {
            let mut raw = match self.code {
                2 => vec![v as u8],
                256 => vec![(v as i8) as u8],
                4 => (v as i16).to_le_bytes().to_vec(),
                512 => (v as u16).to_le_bytes().to_vec(),
                8 => (v as i32).to_le_bytes().to_vec(),
                768 => (v as u32).to_le_bytes().to_vec(),
                1024 => (v as i64).to_le_bytes().to_vec(),
                1280 => (v as u64).to_le_bytes().to_vec(),
                16 => (v as f32).to_le_bytes().to_vec(),
                64 => v.to_le_bytes().to_vec(),
                code => panic!("no sample of type {code}"),
            };
            if self.order == ByteOrder::Big {
                raw.reverse();
            }
            bytes.extend(raw);
        }
        bytes
    }

    pub(super) fn file(&self) -> Vec<u8> {
        [self.header(), self.voxels(&STORED)].concat()
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
