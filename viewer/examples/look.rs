//! The viewer without the rest of the program: opens what is named, draws a picture, or measures.
//!
//! ```sh
//! cargo run --release -p brainage-viewer --example look -- scan.nii.gz
//! cargo run --release -p brainage-viewer --example look -- --screenshot picture.png --prepare --mosaic scan.nii.gz
//! cargo run --release -p brainage-viewer --example look -- --fps 300 scan.nii.gz
//! ```

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use brainage_pipelines::recipe::Recipe;
use brainage_viewer::{
    Preprocessing, Start, StartLayout, StartPanel, Subject, ViewerParams, measure_frames,
    open_window, screenshot,
};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut picture, mut n_frames) = (None, None);
    let (mut scale, mut size) = (1.0, [1280, 800]);
    let mut start = Start::default();
    let (mut subjects, mut open) = (Vec::new(), Vec::new());
    let mut arguments = std::env::args();
    arguments.next();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--screenshot" => picture = Some(PathBuf::from(value()?)),
            "--fps" => n_frames = Some(value()?.parse()?),
            "--scale" => scale = value()?.parse()?,
            "--width" => size[0] = value()?.parse()?,
            "--height" => size[1] = value()?.parse()?,
            "--prepare" => start.prepare = true,
            "--mosaic" => start.layout = Some(StartLayout::Mosaic),
            "--axial" => start.layout = Some(StartLayout::Axial),
            "--layers" => start.panel = Some(StartPanel::Layers),
            "--cohort" => start.panel = Some(StartPanel::Cohort),
            "--run" => start.panel = Some(StartPanel::Run),
            path if Path::new(path).is_file() => {
                subjects.push(Subject::from_path(PathBuf::from(path)));
            }
            path => open.push(PathBuf::from(path)),
        }
    }
    let params = ViewerParams {
        open,
        start,
        preprocessing: Some(Preprocessing {
            recipe: Recipe::named("standard")?,
            cache: None,
        }),
        ..ViewerParams::new(subjects)
    };
    if let Some(picture) = picture {
        screenshot(params, &picture, size, scale)?;
    } else if let Some(n_frames) = n_frames {
        let times = measure_frames(params, n_frames)?;
        writeln!(
            std::io::stdout(),
            "first picture after {:.2} s; {:.1} frames a second; own part {:.1} ms (median), {:.1} ms (95 %)",
            times.first_picture.as_secs_f64(),
            times.frames_per_second(),
            times.own_percentile(50).as_secs_f64() * 1e3,
            times.own_percentile(95).as_secs_f64() * 1e3,
        )?;
    } else {
        open_window(params)?;
    }
    Ok(())
}
