//! Market data: venues, instruments, prices. Reference data without tenants: everybody reads the same.
//!
//! Always holds: `bedplate_app` reads, `bedplate_system` writes, nobody else has a right; a price is never changed,
//! and leaves with its day (see [`maintain`](crate::database::maintain)).

pub mod instrument;
pub mod price_tick;
pub mod price_tick_load;
/// The tables, as `diesel print-schema` writes them.
#[rustfmt::skip]
pub mod schema;
pub mod venue;

pub use instrument::{AssetClass, Instrument, InstrumentFilter, InstrumentRepository, InstrumentStatus, NewInstrument};
pub use price_tick::{PriceTick, PriceTickRepository};
pub use price_tick_load::NewPriceTick;
pub use venue::{NewVenue, Venue, VenueRepository, VenueStatus};
