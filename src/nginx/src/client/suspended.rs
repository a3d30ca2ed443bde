//! What a client's request needs while it waits: an event, a place among the parked requests, its state, its end of a mailbox.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::rc::Rc;

use nginx_sys::ngx_event_t;
use swrcache::engine::Fetch;

use crate::client::body::Reader;
use crate::client::record::Client;
use crate::fetch::carrier::{self, Carrier};
use crate::fetch::exchange::{Leader, LeadersEnd};
use crate::fetch::upstream_states;
use crate::sys::clock::now;
use crate::sys::event::Event;
use crate::sys::record;
use crate::sys::request::Req;
use crate::worker::parked::{Look, Parked};

/// Handles an event whose `data` is a [`Suspended`].
type EventHandler = unsafe extern "C" fn(*mut ngx_event_t);

/// Handles the end of a request, with its [`Suspended`].
type Cleanup = unsafe extern "C" fn(*mut c_void);

/// What a request waits for.
#[derive(Default)]
pub(crate) enum State {
    #[default]
    Idle,
    Waiting,
    Leading,
    Reading(Reader),
    Relaying,
}

/// A note of a request that can't be answered at once.
#[repr(C)]
pub(crate) struct Suspended {
    // The first field, and large: nginx's debug log reads a descriptor behind an event's `data`, which is this.
    pub(crate) event: Event,
    pub(crate) parked: Parked,
    pub(crate) client: &'static Client,
    pub(crate) state: Cell<State>,
    pub(crate) is_watched: Cell<bool>,
    /// The client's end of the mailbox between it and the fetch that it leads; dropped when the request ends.
    pub(crate) fetch: RefCell<Option<LeadersEnd>>,
    /// What the fetch sees of this request.
    pub(crate) leader: RefCell<Option<Rc<Leader>>>,
}

impl Suspended {
    /// The request's, if it has one.
    pub(crate) fn found(client: &'static Client) -> Option<&'static Suspended> {
        match client.is_suspended.get() {
            true => record::noted(client.r),
            false => None,
        }
    }

    /// The request's; made if it has none. The handlers are for its event and for the end of the request; both get it as their data.
    pub(crate) fn of(
        client: &'static Client,
        on_event: EventHandler,
        on_request_end: Cleanup,
    ) -> Option<&'static Suspended> {
        if let Some(found) = Suspended::found(client) {
            return Some(found);
        }
        let r = client.r;
        let suspended = record::note(
            r,
            Suspended {
                event: Event::new(),
                parked: Parked::new(),
                client,
                state: Cell::default(),
                is_watched: Cell::new(false),
                fetch: RefCell::new(None),
                leader: RefCell::new(None),
            },
        )?;
        r.on_end(on_request_end, suspended.data())?;
        let log = r.connection().log;
        suspended
            .event
            .set_up(Some(on_event), suspended.data(), log);
        client.is_suspended.set(true);
        Some(suspended)
    }

    /// The pointer that nginx and the worker pass to the handlers.
    fn data(&'static self) -> *mut c_void {
        let data: *const Suspended = self;
        data.cast_mut().cast()
    }

    pub(crate) fn r(&self) -> Req {
        self.client.r
    }

    /// The fetch that it leads, until that has ended.
    pub(crate) fn carrier<'a>(&self) -> Option<&'a Carrier> {
        self.fetch.borrow().as_ref().and_then(carrier::led_by)
    }

    /// Starts the fetch that `life` permits, with this request as its leader.
    pub(crate) fn lead(&self, life: &mut Fetch) -> Option<()> {
        let leader = Rc::new(Leader {
            r: self.r(),
            notifier: self.event.notifier(),
            earlier_states: upstream_states::count(self.r()),
            relay: Cell::new(None),
            relay_follows: Cell::new(false),
        });
        let end = carrier::lead(Rc::clone(&leader), life)?;
        self.leader.replace(Some(leader));
        self.fetch.replace(Some(end));
        Some(())
    }

    pub(crate) fn set_timer(&self, at: u64) {
        self.event.set_timer(at.saturating_sub(now()));
    }

    /// Parks the request until the worker is woken; `look` gets this then.
    pub(crate) fn park(&'static self, look: Look) {
        // SAFETY: this stays in its place until the request ends, and leaves then (`unhook`); `look` is for a `Suspended`.
        unsafe { self.parked.park(look, self.data()) }
    }

    /// Takes the request out of every list and timer. Its fetch, if there is one, goes on without it.
    pub(crate) fn unhook(&self) {
        self.state.take();
        self.parked.leave();
        self.event.cancel();
        if let Some(end) = self.fetch.take() {
            carrier::leave(end);
        }
        self.leader.take();
    }
}
