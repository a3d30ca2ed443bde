//! The mailbox between a client and the fetch that it leads.

use std::cell::RefCell;
use std::rc::Rc;

use mailbox::{ClientEnd, FetchEnd, mailbox};

#[path = "../../src/nginx/src/fetch/mailbox.rs"]
mod mailbox;

type Client = ClientEnd<&'static str, u32, String>;
type Fetch = FetchEnd<&'static str, u32, String>;

fn made() -> (Client, Fetch) {
    mailbox(Rc::new("client"), 7)
}

fn put(fetch: &Fetch, letter: &str) -> bool {
    fetch.put(letter.to_owned(), |_, _| false).is_some()
}

#[test]
fn letters_arrive() {
    let (client, fetch) = made();
    assert_eq!(client.take(), None);
    assert!(put(&fetch, "a header"));
    assert_eq!(client.take().as_deref(), Some("a header"));
    assert_eq!(client.take(), None);
}

#[test]
fn the_newest_letter_counts_unless_the_earlier_stays() {
    let (client, fetch) = made();
    assert!(put(&fetch, "first"));
    assert!(put(&fetch, "second"));
    let stays = |earlier: &String, _: &String| earlier == "second";
    assert!(fetch.put("third".to_owned(), stays).is_some());
    assert_eq!(client.take().as_deref(), Some("second"));
}

#[test]
fn a_client_that_goes_is_not_found() {
    let (client, fetch) = made();
    assert_eq!(fetch.client().as_deref(), Some(&"client"));
    assert!(put(&fetch, "unread"));
    drop(client);
    assert_eq!(fetch.client(), None);
    assert!(!put(&fetch, "to nobody"));
}

#[test]
fn a_fetch_that_goes_is_not_found_and_its_letter_is_read() {
    let (client, fetch) = made();
    assert_eq!(client.fetch(), Some(7));
    assert!(put(&fetch, "the end"));
    drop(fetch);
    assert_eq!(client.fetch(), None);
    assert_eq!(client.take().as_deref(), Some("the end"));
}

#[test]
fn the_next_request_of_a_fetch_has_the_same_client() {
    let (client, fetch) = made();
    let next = fetch;
    next.hand_to(8);
    assert_eq!(client.fetch(), Some(8));
    assert!(put(&next, "later"));
    assert_eq!(client.take().as_deref(), Some("later"));
}

/// What nginx does when a client's output ends its request: the client goes in the middle of a call by its fetch.
#[test]
fn a_client_may_go_in_the_middle() {
    let (client, fetch) = made();
    let held = RefCell::new(Some(client));
    let found = fetch.client().expect("a client");
    drop(held.take());
    assert_eq!(*found, "client");
    assert_eq!(fetch.client(), None);
    let stays = |_: &String, _: &String| panic!("there is no letter");
    assert!(fetch.put("to nobody".to_owned(), stays).is_none());
}

/// A letter may hold what uses the box when it is dropped.
#[test]
fn a_letter_may_use_the_box() {
    struct Letter(Rc<RefCell<Option<FetchEnd<(), u32, Letter>>>>);
    impl Drop for Letter {
        fn drop(&mut self) {
            let fetch = self.0.borrow();
            assert!(fetch.as_ref().is_none_or(|fetch| fetch.client().is_none()));
        }
    }
    let (client, fetch) = mailbox(Rc::new(()), 1);
    let place = Rc::new(RefCell::new(None));
    assert!(fetch.put(Letter(Rc::clone(&place)), |_, _| false).is_some());
    *place.borrow_mut() = Some(fetch);
    drop(client);
    place.borrow_mut().take();
}
