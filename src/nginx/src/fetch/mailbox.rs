//! A mailbox with two ends, either of whose holders may end at any time: a fetch puts letters in, the client that leads it takes them out.
//!
//! | end | who holds it | gives | once the other end is dropped |
//! |---|---|---|---|
//! | [`ClientEnd`] | the client | its letters, and where its fetch is | what lies in the box, and no fetch |
//! | [`FetchEnd`] | the fetch | its client | no client, and takes no letters |
//!
//! Each end gives the address of its holder for exactly as long as the holder keeps it. A holder that drops its end before it ends is never
//! reached at an address that is no longer valid. Nothing in here is borrowed while a caller's code runs, so either end may be used or
//! dropped in the middle of a call on the other.

use std::cell::Cell;
use std::rc::Rc;

struct Shared<C, F, L> {
    client: Cell<Option<Rc<C>>>,
    fetch: Cell<Option<F>>,
    letter: Cell<Option<L>>,
}

/// The end of the client that leads a fetch.
pub(crate) struct ClientEnd<C, F: Copy, L>(Rc<Shared<C, F, L>>);

/// The end of the fetch.
pub(crate) struct FetchEnd<C, F: Copy, L>(Rc<Shared<C, F, L>>);

/// A mailbox between `client` and `fetch`: the addresses by which each reaches the other.
pub(crate) fn mailbox<C, F: Copy, L>(
    client: Rc<C>,
    fetch: F,
) -> (ClientEnd<C, F, L>, FetchEnd<C, F, L>) {
    let shared = Rc::new(Shared {
        client: Cell::new(Some(client)),
        fetch: Cell::new(Some(fetch)),
        letter: Cell::new(None),
    });
    (ClientEnd(Rc::clone(&shared)), FetchEnd(shared))
}

impl<C, F: Copy, L> ClientEnd<C, F, L> {
    /// The fetch; nothing once it has dropped its end.
    pub(crate) fn fetch(&self) -> Option<F> {
        self.0.fetch.get()
    }

    /// The letter that lies in the box.
    pub(crate) fn take(&self) -> Option<L> {
        self.0.letter.take()
    }
}

impl<C, F: Copy, L> Drop for ClientEnd<C, F, L> {
    fn drop(&mut self) {
        drop(self.0.client.take());
        drop(self.0.letter.take());
    }
}

impl<C, F: Copy, L> FetchEnd<C, F, L> {
    /// The client; nothing once it has dropped its end.
    pub(crate) fn client(&self) -> Option<Rc<C>> {
        let client = self.0.client.take();
        self.0.client.set(client.clone());
        client
    }

    /// Puts in a letter, which replaces one that has not been taken unless that one `stays`. Gives the client, if it can take it.
    pub(crate) fn put(&self, letter: L, stays: impl FnOnce(&L, &L) -> bool) -> Option<Rc<C>> {
        let client = self.client()?;
        let letter = match self.0.letter.take() {
            Some(earlier) if stays(&earlier, &letter) => earlier,
            _ => letter,
        };
        self.0.letter.set(Some(letter));
        Some(client)
    }

    /// Another request carries the fetch on, and holds the end from now on.
    pub(crate) fn hand_to(&self, fetch: F) {
        self.0.fetch.set(Some(fetch));
    }
}

impl<C, F: Copy, L> Drop for FetchEnd<C, F, L> {
    fn drop(&mut self) {
        self.0.fetch.set(None);
    }
}
