//! The flows of a program.

use clap::{Args, CommandFactory, FromArgMatches};
use tally_ports::{KnownFlow, Stop};

use crate::settings::wrong;

/// The flows of a program; the first is the default.
#[derive(Clone, Debug)]
pub struct Flows(Vec<KnownFlow>);

/// The flag for the flow.
#[derive(Args, Clone, Debug, Default)]
pub struct FlowFlag {
    /// The flow: which kind of records
    #[arg(long, global = true, value_name = "NAME")]
    flow: Option<String>,
}

impl FlowFlag {
    /// Whether it was given.
    pub const fn is_given(&self) -> bool {
        self.flow.is_some()
    }
}

impl Flows {
    /// A set of flows.
    ///
    /// # Errors
    /// When a description is invalid, two flows have the same name, or two write the same table.
    pub fn new(known: Vec<KnownFlow>) -> Result<Self, Stop> {
        KnownFlow::check(&known)?;
        if known.is_empty() {
            return Err(wrong("this program knows no flow"));
        }
        Ok(Self(known))
    }

    /// All of them.
    pub fn all(&self) -> &[KnownFlow] {
        &self.0
    }

    /// The default flow, to which settings outside of `[flows.NAME]` apply.
    pub fn first(&self) -> &KnownFlow {
        &self.0[0]
    }

    /// The flow of this name.
    pub fn named(&self, name: &str) -> Option<&KnownFlow> {
        self.0.iter().find(|known| known.flow.name() == name)
    }

    /// The flow that the flag names, or the first.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn chosen(&self, flag: &FlowFlag) -> Result<&KnownFlow, Stop> {
        let Some(name) = &flag.flow else { return Ok(self.first()) };
        self.named(name).ok_or_else(|| {
            wrong(format!("there is no flow {name}; the flows are {}", self.names().join(", ")))
        })
    }

    /// Their names.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|known| known.flow.name()).collect()
    }

    /// The names of all their quality rules.
    pub(crate) fn rules(&self) -> Vec<&str> {
        self.0.iter().flat_map(|known| known.flow.rules()).map(|rule| &**rule).collect()
    }

    /// The command line, whose `--flow` has to be one of the names; otherwise the process lists them and exits with 2.
    pub fn parse<A: CommandFactory + FromArgMatches>(&self) -> A {
        let names: Vec<String> = self.names().into_iter().map(str::to_owned).collect();
        let known = move |name: &str| match names.iter().find(|known| *known == name) {
            Some(name) => Ok(name.clone()),
            None => Err(format!("the flows are {}", names.join(", "))),
        };
        let help = format!(
            "The flow: which kind of records ({}) [default: {}]",
            self.names().join(", "),
            self.first().flow.name()
        );
        let command = A::command().mut_arg("flow", |flag| flag.value_parser(known).help(help));
        let matches = command.get_matches();
        A::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}
