//! Measures what `docs/performance.md` promises for cohorts: one figure a run, on files made in a folder of its own.
//!
//! ```text
//! cargo run --release -p brainage-cohorts --example figures -- table   50,000 × 3,000 cells of UK Biobank, 1.5 GB
//! cargo run --release -p brainage-cohorts --example figures -- index   a million rows written, read, split, checked
//! cargo run --release -p brainage-cohorts --example figures -- tree    100,000 files walked and listed
//! ```
//!
//! The peak of the memory is that of the process as Linux counts it (`VmHWM`), files being made included.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

use brainage_cohorts::{
    Cohort, CohortIndex, Criteria, INDEX_COLUMNS, Layout, SplitFractions, assign_splits,
    check_leakage, list_cohort,
};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut out = io::stdout();
    let name = std::env::args().nth(1).unwrap_or_default();
    let lines = match name.as_str() {
        "table" => table(folder.path())?,
        "index" => index(folder.path())?,
        "tree" => tree(folder.path())?,
        _ => return Err("expected table, index or tree".into()),
    };
    for Lap {
        what,
        seconds,
        busy,
    } in lines
    {
        writeln!(out, "{name}: {what}: {seconds:.2} s, {busy:.2} s of a core")?;
    }
    writeln!(out, "{name}: peak {} MB", peak_kb().unwrap_or(0) / 1024)?;
    Ok(())
}

/// What was measured.
struct Lap {
    what: String,
    seconds: f64,
    /// Time that the process had on a core, which other processes do not lengthen much.
    busy: f64,
}

/// Measures from one lap to the next.
struct Watch {
    start: Instant,
    busy: f64,
}

impl Watch {
    fn start() -> Self {
        let (start, busy) = (Instant::now(), busy_seconds().unwrap_or(0.0));
        Self { start, busy }
    }

    fn lap(&mut self, what: &str) -> Lap {
        let before = std::mem::replace(self, Self::start());
        Lap {
            what: what.to_owned(),
            seconds: (self.start - before.start).as_secs_f64(),
            busy: self.busy - before.busy,
        }
    }
}

fn table(folder: &Path) -> Outcome<Vec<Lap>> {
    const N_ROWS: usize = 50_000;
    const N_COLUMNS: usize = 3_000;
    let path = folder.join("ukb.csv");
    let mut file = BufWriter::with_capacity(1 << 20, fs_err::File::create(&path)?);
    let needed = [
        "eid",
        "31-0.0",
        "34-0.0",
        "52-0.0",
        "53-2.0",
        "54-2.0",
        "21003-2.0",
    ];
    let mut header: Vec<String> = needed.map(str::to_owned).into();
    header.extend((needed.len()..N_COLUMNS).map(|column| format!("{}-0.0", 30_000 + column)));
    // The fields that are read stand far apart in a real export.
    header.swap(6, N_COLUMNS - 1);
    writeln!(file, "\"{}\"", header.join("\",\""))?;
    let filler = "\"12345678901\"";
    for row in 0..N_ROWS {
        let (eid, year) = (1_000_000 + row, 1940 + row % 30);
        write!(
            file,
            "\"{eid}\",\"{}\",\"{year}\",\"5\",\"2015-08-14\",\"11025\"",
            row % 2
        )?;
        for column in 6..N_COLUMNS - 1 {
            // A third of the cells is empty.
            write!(file, ",{}", if column % 3 == 0 { "\"\"" } else { filler })?;
        }
        writeln!(file, ",\"{}\"", 2015 - year)?;
    }
    file.into_inner()?.sync_all()?;
    let megabytes = fs_err::metadata(&path)?.len() >> 20;
    let n_scans = 1_000;
    for row in 0..n_scans {
        let scan = folder.join(format!("{}_20252_2_0/T1/T1.nii.gz", 1_000_000 + 50 * row));
        write_scan(&scan)?;
    }
    let mut watch = Watch::start();
    let listing = list_cohort(&cohort("ukbb", folder)?)?;
    let text = format!("{megabytes} MB scanned for {} rows", listing.rows.len());
    Ok(vec![watch.lap(&text)])
}

fn index(folder: &Path) -> Outcome<Vec<Lap>> {
    const N_ROWS: usize = 1_000_000;
    let path = folder.join("index.csv");
    // As text, so that the peak is that of the reader.
    let mut file = BufWriter::new(fs_err::File::create(&path)?);
    writeln!(file, "{}", INDEX_COLUMNS.join(","))?;
    for number in 0..N_ROWS {
        let (participant, visit) = (1_000_000 + number / 2, 2 + number % 2);
        let age = 45.0 + (number % 40_000) as f64 / 1000.0;
        writeln!(
            file,
            "ukbb,{participant},{visit},ukbb:{participant},{age},computed_dates,F,11025,Siemens Skyra 3T,,\
             /data/ukbb/bulk/{participant}_20252_{visit}_0.zip/T1/T1.nii.gz,,"
        )?;
    }
    file.into_inner()?.sync_all()?;
    let mut laps = Vec::new();
    let mut watch = Watch::start();
    let mut index = CohortIndex::read_csv(&path)?;
    laps.push(watch.lap("read"));
    let fractions = SplitFractions {
        validation: 0.1,
        test: 0.1,
    };
    assign_splits(&mut index, 1, fractions)?;
    laps.push(watch.lap("split"));
    check_leakage(&index)?;
    laps.push(watch.lap("leakage check"));
    index.write_csv(&path)?;
    laps.push(watch.lap("written"));
    laps.push(Lap {
        what: "all together".to_owned(),
        seconds: laps.iter().map(|lap| lap.seconds).sum(),
        busy: laps.iter().map(|lap| lap.busy).sum(),
    });
    Ok(laps)
}

fn tree(folder: &Path) -> Outcome<Vec<Lap>> {
    const N_PARTICIPANTS: usize = 50_000;
    let mut table = String::from("participant_id\tage\tsex\n");
    for number in 0..N_PARTICIPANTS {
        let anat = folder.join(format!("sub-{number:05}/anat"));
        write_scan(&anat.join(format!("sub-{number:05}_T1w.nii.gz")))?;
        fs_err::write(anat.join(format!("sub-{number:05}_T1w.json")), "{}")?;
        writeln!(table, "sub-{number:05}\t{}.5\tF", 20 + number % 60)?;
    }
    fs_err::write(folder.join("participants.tsv"), table)?;
    let mut watch = Watch::start();
    let listing = list_cohort(&cohort("bids", folder)?)?;
    let text = format!(
        "{} files walked, {} rows",
        2 * N_PARTICIPANTS,
        listing.rows.len()
    );
    Ok(vec![watch.lap(&text)])
}

fn write_scan(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs_err::create_dir_all(parent)?;
    }
    fs_err::write(path, [0; 2048])
}

fn cohort(layout: &str, root: &Path) -> Outcome<Cohort> {
    Ok(Cohort {
        name: layout.to_owned(),
        layout: Layout::parse(layout)?.into(),
        root: root.to_path_buf(),
        demographics: Vec::new(),
        withdrawals: Vec::new(),
        criteria: Criteria::default(),
    })
}

/// The most memory that the process has had, kB.
fn peak_kb() -> Option<u64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Time on a core so far, in the system and out of it, in steps of a hundredth of a second.
fn busy_seconds() -> Option<f64> {
    let stat = fs_err::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in brackets, may hold spaces.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<f64> = fields
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse().ok())
        .collect();
    Some(fields.iter().sum::<f64>() / 100.0)
}
