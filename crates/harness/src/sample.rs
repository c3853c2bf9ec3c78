//! Sample files, and what a database must hold after reading them: computed from the file, never by the program.

use std::fmt::Write;
use std::path::PathBuf;

use ml_api::category;
use tally_sample::{Options, generate};
use tempfile::TempDir;
use uuid::Uuid;

use crate::job::Target;
use crate::ledger::Ledger;

/// A row as both stores write it as text.
pub type Texts = Vec<Option<String>>;

/// A generated file in a folder of its own.
pub struct Sample {
    folder: TempDir,
    options: Options,
}

impl Sample {
    /// Valid rows.
    pub fn new(rows: u64) -> Self {
        Self::spoiled(rows, 0.0)
    }

    /// A share of the rows is wrong.
    pub fn spoiled(rows: u64, spoil_share: f64) -> Self {
        let sample = Self {
            folder: TempDir::new().unwrap(),
            options: Options { rows, spoil_share, ..Options::default() },
        };
        let file = std::fs::File::create(sample.path()).unwrap();
        generate(&sample.options, std::io::BufWriter::new(file)).unwrap();
        sample
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("sample.csv")
    }

    /// How many rows it has.
    pub fn rows(&self) -> i64 {
        self.options.rows.cast_signed()
    }

    /// The lines after the header, without their ends.
    pub fn lines(&self) -> Vec<Vec<u8>> {
        let bytes = std::fs::read(self.path()).unwrap();
        let body = bytes.strip_suffix(b"\n").unwrap();
        body.split(|&byte| byte == b'\n').skip(1).map(<[u8]>::to_vec).collect()
    }

    /// The same rows, in order, in files of their own.
    pub fn split(&self, files: usize) -> Vec<PathBuf> {
        let bytes = std::fs::read(self.path()).unwrap();
        let header = bytes.split_inclusive(|&byte| byte == b'\n').next().unwrap();
        let lines = self.lines();
        let write = |(number, lines): (usize, &[Vec<u8>])| {
            let path = self.folder.path().join(format!("part{number}.csv"));
            let body = lines.iter().flat_map(|line| [line, &b"\n"[..]]).flatten();
            let part: Vec<u8> = header.iter().chain(body).copied().collect();
            std::fs::write(&path, part).unwrap();
            path
        };
        lines.chunks(lines.len().div_ceil(files)).enumerate().map(write).collect()
    }

    /// What the valid rows become, in order of id.
    pub fn expected_rows(&self) -> Vec<Texts> {
        let numbered = (0..).zip(self.lines());
        let valid = numbered.filter(|&(position, _)| self.fault_at(position).is_none());
        valid.map(|(_, line)| expected_row(std::str::from_utf8(&line).unwrap())).collect()
    }

    /// Position, code and bytes of what the spoiled rows become, in order of position.
    pub fn expected_dead_letters(&self) -> Vec<Texts> {
        let numbered = (0..).zip(self.lines());
        let spoiled = numbered.filter_map(|(position, line)| {
            let code = self.fault_at(position)?.code().to_owned();
            Some(vec![Some(position.to_string()), Some(code), Some(hex(&line))])
        });
        spoiled.collect()
    }

    fn fault_at(&self, position: i64) -> Option<tally_sample::Fault> {
        self.options.fault_of(position.cast_unsigned() + 1)
    }

    /// Each row of the file has had its effect once, each refused row is one dead letter of each pass, the ledger has
    /// neither gap nor overlap and agrees with both, all `passes` are ended and the last has written every row.
    pub async fn check_taken(&self, target: &Target, passes: usize) {
        assert_same_rows(&rows(target).await, &self.expected_rows());
        let dead_letters = self.expected_dead_letters();
        for pass in 1..=passes {
            assert_same_rows(&dead_letters_of(target, pass).await, &dead_letters);
        }

        let ended = Ledger::read(target).await.check_whole(target).await;
        assert_eq!(ended.len(), passes, "as many passes as readings: {ended:?}");
        for pass in &ended {
            let valid = self.rows() - i64::try_from(dead_letters.len()).unwrap();
            assert!(pass.ended && pass.owner.is_none(), "{pass:?}");
            assert_eq!(
                (pass.read, pass.written, pass.superseded),
                (self.rows(), valid, 0),
                "{pass:?}"
            );
        }
        let last = &ended[passes - 1];
        let astray = format!("select count(*) from transactions where origin <> {}", last.origin);
        assert_eq!(target.number(&astray).await, 0, "rows of another pass than the last");
    }
}

/// The row that a valid line becomes: none of the sample's texts holds a delimiter or a quote.
fn expected_row(line: &str) -> Texts {
    let fields: Vec<&str> = line.split(';').map(|field| field.trim_matches('"')).collect();
    let [number, description, amount, timestamp, merchant, operation_type, side] = fields[..]
    else {
        panic!("a line of the sample without seven fields");
    };
    let id = Uuid::from_u128(number.parse().unwrap());
    let amount = amount.replace(',', ".");
    let category = category(id);
    let texts = [
        &*id.to_string(),
        description,
        &amount,
        timestamp,
        merchant,
        operation_type,
        side,
        category,
    ];
    texts.into_iter().map(|text| Some(text.to_owned()).filter(|text| !text.is_empty())).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// All transactions in order of id.
pub async fn rows(target: &Target) -> Vec<Texts> {
    let columns = "id, description, amount, timestamp, merchant, operation_type, side, category";
    target.query(&format!("select {columns} from transactions order by id")).await
}

async fn dead_letters_of(target: &Target, pass: usize) -> Vec<Texts> {
    let payload = match target {
        Target::Sqlite(_) => "lower(hex(payload))",
        Target::Postgres(_) => "encode(payload, 'hex')",
    };
    let sql = format!(
        "select position, code, {payload} from dead_letters where pass = {pass} order by position"
    );
    target.query(&sql).await
}

/// Shows only the first difference of two long lists.
#[track_caller]
pub fn assert_same_rows(found: &[Texts], expected: &[Texts]) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len(), "rows found and expected");
}
