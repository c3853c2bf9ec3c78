//! The model, asked about batches.

use tally_domain::Classified;
use tally_ports::{Answers, Enrich, Fault, Stop};

use crate::Settings;
use crate::connection::{Connection, Heard};
use crate::inquiry::Inquiry;
use crate::question::Questions;

/// The model over HTTP. Connections are kept and shared by all calls in flight. Its `Debug` shows no secrets.
#[derive(Debug)]
pub struct Model {
    connection: Connection,
    /// Whether a batch may be without any category.
    of_refused: bool,
}

impl Model {
    /// The model as `settings` say. Connects to nothing yet; errs with
    /// [`StopKind::Setting`](tally_ports::StopKind::Setting) when they are wrong.
    ///
    /// TLS uses the process' default crypto provider, ring where none is installed, and the machine's certificates.
    pub fn new(settings: &Settings) -> Result<Self, Stop> {
        Ok(Self { connection: Connection::new(settings)?, of_refused: false })
    }

    /// The same model for records that were refused before, as dead letters are: that it refuses all of a batch again,
    /// or answers for none of it, is then what became of the records, and no outage.
    #[must_use]
    pub fn of_refused(self) -> Self {
        Self { of_refused: true, ..self }
    }
}

impl<F: Classified> Enrich<F> for Model {
    type Inquiry = Inquiry;

    fn begin(&self, records: &[F::Record]) -> Result<Inquiry, Stop> {
        Ok(Inquiry::new(Questions::about::<F>(records)?))
    }

    async fn ask(&self, inquiry: &mut Inquiry) -> Result<Option<Answers<F>>, Fault> {
        let mut has_category = false;
        while !has_category && let Some((body, ids)) = inquiry.next() {
            let heard = self.connection.ask(body, &ids).await?;
            if let Heard::Nothing(unfit) = &heard
                && !self.of_refused
                && inquiry.is_first_of_several()
            {
                return Err(self.connection.outage(&unfit.to_string()));
            }
            has_category = inquiry.note(heard);
            inquiry.end_round(self.of_refused).map_err(|what| self.connection.outage(&what))?;
        }
        Ok(inquiry.conclude())
    }
}
