//! One scan through one recipe, all files written: `preprocess_scan RECIPE SCAN FOLDER`.
//!
//! RECIPE is a recipe's name or a TOML file. `tools/compare_n4.py` drives this to compare bias fields with SimpleITK's.

use std::error::Error;
use std::path::Path;

use brainage_pipelines::outputs::write_outputs;
use brainage_pipelines::preprocess::preprocess;
use brainage_pipelines::recipe::Recipe;
use brainage_pipelines::template::template;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [recipe, scan, folder] = arguments.as_slice() else {
        return Err("expected a recipe, a scan and a folder".into());
    };
    let is_file = Path::new(recipe)
        .extension()
        .is_some_and(|ending| ending == "toml");
    let recipe = if is_file {
        Recipe::parse(&fs_err::read_to_string(recipe)?, recipe)?
    } else {
        Recipe::named(recipe)?
    };
    let (scan, template) = (Path::new(scan), template()?);
    let result = preprocess(scan, &recipe, template)?;
    write_outputs(Path::new(folder), scan, &result, &recipe, template)?;
    Ok(())
}
