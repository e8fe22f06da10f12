//! From the bytes of an image file to pixels: JPEG and PNG, told apart by their first bytes.

use std::io::Cursor;
use std::path::Path;

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::pixels::Pixels;
use crate::Error;

/// Longest side of an image that is decoded: a damaged header must not ask for all memory.
const MOST_PIXELS: usize = 16_384;
/// How far before the end of a JPEG file its end marker may stand; cameras append a little.
const TRAILER: usize = 4096;

/// Reads and decodes an image file.
///
/// # Errors
/// [`Error::Io`] where it cannot be read, [`Error::Image`] where it is no image, or damaged.
pub fn read_image(path: &Path) -> Result<Pixels, Error> {
    let bytes = fs_err::read(path)?;
    decode(&bytes).map_err(|message| Error::Image {
        path: path.to_path_buf(),
        message,
    })
}

fn decode(bytes: &[u8]) -> Result<Pixels, String> {
    if bytes.starts_with(&[0xff, 0xd8]) {
        decode_jpeg(bytes)
    } else if bytes.starts_with(b"\x89PNG") {
        decode_png(bytes)
    } else if bytes.is_empty() {
        Err("an empty file, expected a JPEG or PNG image".into())
    } else {
        Err("neither a JPEG nor a PNG image".into())
    }
}

fn decode_jpeg(bytes: &[u8]) -> Result<Pixels, String> {
    let tail = &bytes[bytes.len().saturating_sub(TRAILER)..];
    if !tail.windows(2).any(|pair| pair == [0xff, 0xd9]) {
        // The decoder would fill what is missing with gray.
        return Err("a JPEG image that was cut off (no end marker)".into());
    }
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_max_width(MOST_PIXELS)
        .set_max_height(MOST_PIXELS);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let damaged = |error: &dyn std::fmt::Debug| format!("a damaged JPEG image ({error:?})");
    let rgb = decoder.decode().map_err(|error| damaged(&error))?;
    let info = decoder.info().ok_or("a JPEG image without a header")?;
    whole(usize::from(info.width), usize::from(info.height), rgb)
}

fn decode_png(bytes: &[u8]) -> Result<Pixels, String> {
    let damaged = |error: png::DecodingError| format!("a damaged PNG image ({error})");
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    if width.max(height) > MOST_PIXELS {
        return Err(format!(
            "a PNG image of {width}×{height} pixels, expected at most {MOST_PIXELS} a side"
        ));
    }
    let n = reader
        .output_buffer_size()
        .ok_or("a PNG image too large for memory")?;
    let mut buffer = vec![0; n];
    let frame = reader.next_frame(&mut buffer).map_err(damaged)?;
    buffer.truncate(frame.buffer_size());
    let rgb = match frame.color_type {
        png::ColorType::Rgb => buffer,
        png::ColorType::Rgba => buffer
            .chunks_exact(4)
            .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
            .collect(),
        png::ColorType::Grayscale => buffer.into_iter().flat_map(|gray| [gray; 3]).collect(),
        png::ColorType::GrayscaleAlpha => buffer
            .chunks_exact(2)
            .flat_map(|pixel| [pixel[0]; 3])
            .collect(),
        png::ColorType::Indexed => return Err("a PNG image whose palette was not expanded".into()),
    };
    whole(width, height, rgb)
}

fn whole(width: usize, height: usize, rgb: Vec<u8>) -> Result<Pixels, String> {
    let n = 3 * width * height;
    if n == 0 || rgb.len() != n {
        let found = rgb.len();
        return Err(format!(
            "{found} color values for {width}×{height} pixels, expected {n}"
        ));
    }
    Ok(Pixels { width, height, rgb })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A PNG file of an image.
    pub(crate) fn png_file(pixels: &Pixels) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, pixels.width as u32, pixels.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&pixels.rgb).unwrap();
        writer.finish().unwrap();
        bytes
    }

    /// An 8×8 JPEG, one gray component, all coefficients but the mean are 0: DC difference category 0 is code `00`, end of
    /// block `00` with the tables below, so the image is 128 everywhere. Made by hand from ITU-T T.81, annex B and F.
    fn gray_jpeg() -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8];
        bytes.extend([0xff, 0xdb, 0, 67, 0]);
        bytes.extend([1; 64]);
        bytes.extend([0xff, 0xc0, 0, 11, 8, 0, 8, 0, 8, 1, 1, 0x11, 0]);
        // Tables with two codes of two bits each: 00 for symbol 0, 01 for symbol 1.
        for class in [0x00, 0x10] {
            bytes.extend([0xff, 0xc4, 0, 21, class, 0, 2]);
            bytes.extend([0; 14]);
            bytes.extend([0, 1]);
        }
        bytes.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0]);
        bytes.extend([0b0000_1111, 0xff, 0xd9]);
        bytes
    }

    #[test]
    fn a_png_file_gives_its_pixels_back() {
        let pixels = Pixels {
            width: 3,
            height: 2,
            rgb: (0..18).collect(),
        };
        assert_eq!(decode(&png_file(&pixels)).unwrap(), pixels);
    }

    #[test]
    fn a_gray_jpeg_becomes_colors() {
        let pixels = decode(&gray_jpeg()).unwrap();
        assert_eq!((pixels.width, pixels.height), (8, 8));
        assert!(
            pixels.rgb.iter().all(|value| *value == 128),
            "{:?}",
            pixels.rgb
        );
    }

    #[test]
    fn files_that_are_cut_or_no_images_are_refused_with_their_name_and_why() {
        let folder = tempfile::tempdir().unwrap();
        let png = png_file(&Pixels {
            width: 3,
            height: 2,
            rgb: vec![1; 18],
        });
        let jpeg = gray_jpeg();
        for (bytes, why) in [
            (&b""[..], "an empty file"),
            (b"GIF89a", "neither a JPEG nor a PNG"),
            (&png[..png.len() / 2], "a damaged PNG"),
            (&jpeg[..jpeg.len() - 2], "cut off"),
            (&[0xff, 0xd8, 0xff, 0xd9], "a damaged JPEG"),
        ] {
            let path = folder.path().join("image.jpg");
            fs_err::write(&path, bytes).unwrap();
            let said = read_image(&path).unwrap_err().to_string();
            assert!(said.contains(why) && said.contains("image.jpg"), "{said}");
        }
        let missing = read_image(&folder.path().join("nothing.png")).unwrap_err();
        assert!(missing.to_string().contains("nothing.png"));
    }
}
