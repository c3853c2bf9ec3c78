use crate::random::Random;

/// One kind of operation on an account: how a bank words it, with whom, and for how much.
pub(crate) struct Operation {
    /// How many of 1,000 rows are of this kind.
    weight: usize,
    pub(crate) side: &'static str,
    /// The column `operation_type`.
    pub(crate) kind: &'static str,
    pub(crate) wording: &'static str,
    pub(crate) parties: &'static [Party],
    pub(crate) ending: Ending,
    /// The least and the greatest amount, in cents; small ones are more frequent.
    pub(crate) cents: (usize, usize),
}

/// Whom money goes to or comes from: the wording in the description, and the merchant (empty for a person).
pub(crate) type Party = (&'static str, &'static str);

/// What a description ends with.
pub(crate) enum Ending {
    /// City and day, as on a card payment.
    City,
    /// A reference of eight digits.
    Reference,
    /// Month and year.
    Month,
}

/// The kind of operation of a row.
pub(crate) fn any(random: &mut Random) -> &'static Operation {
    let mut place = random.below(1000);
    for operation in &OPERATIONS {
        if place < operation.weight {
            return operation;
        }
        place -= operation.weight;
    }
    &OPERATIONS[0]
}

/// 650 of 1,000 are debits; 85 of the 350 credits come from a person, without a merchant.
const OPERATIONS: [Operation; 10] = [
    Operation {
        weight: 340,
        side: "debit",
        kind: "payment",
        wording: "CB ",
        parties: &SHOPS,
        ending: Ending::City,
        cents: (150, 18_000),
    },
    Operation {
        weight: 80,
        side: "debit",
        kind: "payment",
        wording: "CB ",
        parties: &ONLINE,
        ending: Ending::Reference,
        cents: (299, 12_000),
    },
    Operation {
        weight: 150,
        side: "debit",
        kind: "direct_debit",
        wording: "PRLV SEPA ",
        parties: &CREDITORS,
        ending: Ending::Reference,
        cents: (999, 25_000),
    },
    Operation {
        weight: 45,
        side: "debit",
        kind: "transfer",
        wording: "VIR SEPA LOYER ",
        parties: &LANDLORDS,
        ending: Ending::Month,
        cents: (45_000, 180_000),
    },
    Operation {
        weight: 35,
        side: "debit",
        kind: "transfer",
        wording: "VIR PERMANENT ÉPARGNE ",
        parties: &SAVINGS,
        ending: Ending::Month,
        cents: (2_000, 80_000),
    },
    Operation {
        weight: 110,
        side: "credit",
        kind: "transfer",
        wording: "VIR SEPA SALAIRE ",
        parties: &EMPLOYERS,
        ending: Ending::Month,
        cents: (140_000, 480_000),
    },
    Operation {
        weight: 85,
        side: "credit",
        kind: "transfer",
        wording: "VIR INSTANTANÉ REÇU DE ",
        parties: &PERSONS,
        ending: Ending::Reference,
        cents: (500, 60_000),
    },
    Operation {
        weight: 60,
        side: "credit",
        kind: "refund",
        wording: "VIR SEPA REMBOURSEMENT ",
        parties: &INSURERS,
        ending: Ending::Reference,
        cents: (600, 40_000),
    },
    Operation {
        weight: 60,
        side: "credit",
        kind: "refund",
        wording: "AVOIR CB ",
        parties: &SHOPS,
        ending: Ending::City,
        cents: (150, 18_000),
    },
    Operation {
        weight: 35,
        side: "credit",
        kind: "payment",
        wording: "REMISE CB ",
        parties: &TERMINALS,
        ending: Ending::Reference,
        cents: (1_000, 150_000),
    },
];

const SHOPS: [Party; 20] = [
    ("CARREFOUR MARKET", "Carrefour Market"),
    ("E.LECLERC", "E.Leclerc"),
    ("MONOPRIX", "Monoprix"),
    ("INTERMARCHÉ", "Intermarché"),
    ("AUCHAN", "Auchan"),
    ("LIDL", "Lidl"),
    ("PICARD SURGELÉS", "Picard Surgelés"),
    ("BOULANGERIE DU MARCHÉ", "Boulangerie du Marché"),
    ("CAFÉ DE LA GARE", "Café de la Gare"),
    ("LE PETIT BISTROT", "Le Petit Bistrot"),
    ("PHARMACIE CENTRALE", "Pharmacie Centrale"),
    ("TOTALENERGIES", "TotalEnergies"),
    ("SNCF CONNECT", "SNCF Connect"),
    ("RATP", "RATP"),
    ("FNAC", "Fnac"),
    ("DECATHLON", "Decathlon"),
    ("LEROY MERLIN", "Leroy Merlin"),
    ("SEPHORA", "Sephora"),
    ("CINÉMA PATHÉ", "Cinéma Pathé"),
    ("L'OCCITANE", "L'Occitane"),
];

const ONLINE: [Party; 8] = [
    ("NETFLIX.COM", "Netflix"),
    ("SPOTIFY", "Spotify"),
    ("AMAZON.FR", "Amazon"),
    ("CDISCOUNT", "Cdiscount"),
    ("DEEZER", "Deezer"),
    ("VINTED", "Vinted"),
    ("BLABLACAR", "BlaBlaCar"),
    ("DELIVEROO", "Deliveroo"),
];

const CREDITORS: [Party; 10] = [
    ("EDF FACTURE", "EDF"),
    ("ENGIE FACTURE", "Engie"),
    ("VEOLIA EAU", "Veolia"),
    ("ORANGE MOBILE", "Orange"),
    ("FREE TELECOM", "Free"),
    ("SFR FIBRE", "SFR"),
    ("MAIF COTISATION", "MAIF"),
    ("MACIF ASSURANCE AUTO", "Macif"),
    ("BASIC-FIT", "Basic-Fit"),
    ("DGFIP IMPÔT", "DGFIP"),
];

const LANDLORDS: [Party; 5] = [
    ("FONCIA", "Foncia"),
    ("NEXITY", "Nexity"),
    ("CITYA IMMOBILIER", "Citya Immobilier"),
    ("ORPI GESTION", "Orpi"),
    ("SCI DES TILLEULS", "SCI des Tilleuls"),
];

const SAVINGS: [Party; 4] = [
    ("LIVRET A", "Livret A"),
    ("LDDS", "LDDS"),
    ("PEA BOURSORAMA", "Boursorama"),
    ("ASSURANCE VIE", "Generali"),
];

const EMPLOYERS: [Party; 8] = [
    ("CAPGEMINI FRANCE", "Capgemini"),
    ("AIRBUS SAS", "Airbus"),
    ("SOCIÉTÉ GÉNÉRALE", "Société Générale"),
    ("MAIRIE DE NANTES", "Mairie de Nantes"),
    ("CHU DE LILLE", "CHU de Lille"),
    ("MICHELIN", "Michelin"),
    ("DASSAULT SYSTÈMES", "Dassault Systèmes"),
    ("LA POSTE", "La Poste"),
];

const PERSONS: [Party; 8] = [
    ("M MARTIN LUC", ""),
    ("MME BERNARD ZOÉ", ""),
    ("M DUBOIS RENÉ", ""),
    ("MME PETIT ANAÏS", ""),
    ("M LEFÈVRE HUGO", ""),
    ("MME MOREAU INÈS", ""),
    ("M GARCIA THÉO", ""),
    ("MME ROUX CHLOÉ", ""),
];

const INSURERS: [Party; 5] = [
    ("CPAM SANTÉ", "CPAM"),
    ("MGEN", "MGEN"),
    ("HARMONIE MUTUELLE", "Harmonie Mutuelle"),
    ("CAF", "CAF"),
    ("AXA SINISTRE", "AXA"),
];

const TERMINALS: [Party; 4] =
    [("SUMUP", "SumUp"), ("STRIPE", "Stripe"), ("ZETTLE", "Zettle"), ("WORLDLINE", "Worldline")];

pub(crate) const CITIES: [&str; 12] = [
    "PARIS",
    "LYON",
    "MARSEILLE",
    "TOULOUSE",
    "NICE",
    "NANTES",
    "RENNES",
    "LILLE",
    "BORDEAUX",
    "STRASBOURG",
    "GRENOBLE",
    "ORLÉANS",
];

pub(crate) const MONTHS: [&str; 12] = [
    "JANVIER",
    "FÉVRIER",
    "MARS",
    "AVRIL",
    "MAI",
    "JUIN",
    "JUILLET",
    "AOÛT",
    "SEPTEMBRE",
    "OCTOBRE",
    "NOVEMBRE",
    "DÉCEMBRE",
];
