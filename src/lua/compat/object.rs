//! The state of an object of the drop-in: its descriptor, in any state, its timeouts and its counts. Pure Rust; the Lua
//! values are made in `classes`.

use super::{
    messages::{BUSY, Class, Fail, NO_DESCRIPTOR, Outcome, Why, fail},
    options::Setting,
    stream::{Pattern, easy},
};
use crate::{
    compat::bsd::{Bare, Family},
    conn::Conn,
    deadline::{Deadline, check_block, uptime},
    grants::Bindable,
    lua::{
        capability::{Capability, Ends},
        signals,
        turns::{self, Buffered, Turns},
    },
};
use std::{
    cell::{Cell, Ref, RefCell, RefMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    rc::{Rc, Weak},
    time::Duration,
};

/// One installation of the drop-in: the capability that its sockets ask, and the sockets, to end them with it.
pub struct Home {
    pub cap: Rc<Capability>,
    /// Descriptors that are not ours may be taken over with `setfd`.
    pub native: bool,
    objects: RefCell<Vec<Weak<Object>>>,
    /// Sockets that no object names any more, after `setfd(-1)`: somebody may hold their number.
    strays: RefCell<Vec<Rc<Slot>>>,
}

impl Home {
    pub fn new(cap: Rc<Capability>, native: bool) -> Rc<Home> {
        let home = Rc::new(Home { cap, native, objects: RefCell::default(), strays: RefCell::default() });
        home.cap.opened(Rc::<Home>::downgrade(&home));
        home
    }

    fn add(&self, object: &Rc<Object>) {
        let mut objects = self.objects.borrow_mut();
        // Forget the dead each time the list would grow; see `Opened` of the capability.
        if objects.len() == objects.capacity() {
            objects.retain(|object| object.strong_count() > 0);
            let alive = objects.len();
            objects.reserve(alive.max(4));
        }
        objects.push(Rc::downgrade(object));
    }

    /// The socket with that number, if it is one of this installation's.
    fn find(&self, number: RawFd) -> Option<Rc<Slot>> {
        let mut strays = self.strays.borrow_mut();
        if let Some(at) = strays.iter().position(|slot| slot.number() == number) {
            return Some(strays.swap_remove(at));
        }
        let objects = self.objects.borrow();
        let mut slots = objects.iter().filter_map(|object| Some(object.upgrade()?.slot()));
        slots.find(|slot| slot.number() == number)
    }
}

impl Ends for Home {
    fn end(&self) {
        let objects = self.objects.take();
        objects.iter().filter_map(Weak::upgrade).for_each(|object| object.close());
        self.strays.take().iter().for_each(|slot| drop(slot.take()));
    }
}

/// What a descriptor is.
#[derive(Default)]
pub enum Item {
    /// None: not made yet, closed, or given away.
    #[default]
    None,
    Bare(Bare),
    /// A stream, or what will be one when its connection stands.
    Stream(Conn),
}

impl Item {
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Item::None => None,
            Item::Bare(bare) => Some(bare.as_fd()),
            Item::Stream(conn) => Some(conn.as_fd()),
        }
    }
}

impl turns::Item for Item {
    fn stream(&self) -> Option<&Conn> {
        if let Item::Stream(conn) = self { Some(conn) } else { None }
    }

    fn stream_mut(&mut self) -> Option<&mut Conn> {
        if let Item::Stream(conn) = self { Some(conn) } else { None }
    }
}

/// A descriptor; objects that were given its number share it.
pub struct Slot(Turns<Item>);

impl Slot {
    pub fn new(item: Item) -> Rc<Slot> {
        Rc::new(Slot(Turns::new(item)))
    }

    /// The item, while it may be used: a hook or a finalizer may run anywhere.
    pub fn item(&self) -> Outcome<RefMut<'_, Item>> {
        self.sweep();
        self.0.item().ok_or(Fail::Message(BUSY))
    }

    pub fn look(&self) -> Outcome<Ref<'_, Item>> {
        self.sweep();
        self.0.look().ok_or(Fail::Message(BUSY))
    }

    /// The item; while a call has it in its hands nothing, and the slot is emptied after that.
    pub fn take(&self) -> Item {
        match self.item() {
            Ok(mut item) => std::mem::replace(&mut *item, Item::None),
            Err(_) => {
                self.0.end();
                signals::closed_in_use();
                Item::None
            }
        }
    }

    /// Empties it if that was asked for and nobody has it in his hands.
    fn sweep(&self) {
        drop(self.0.ended());
    }

    /// What has ended a call, where that is a handler of a signal that closed the socket.
    pub fn ending(&self, fail: Fail) -> Fail {
        let closed = matches!(fail, Fail::Interrupted) && self.0.is_ending() && !signals::has_raised();
        self.sweep();
        if closed { Fail::Message(Why::Closed) } else { fail }
    }

    pub fn number(&self) -> RawFd {
        self.look().ok().and_then(|item| item.fd().map(|fd| fd.as_raw_fd())).unwrap_or(-1)
    }

    /// True while Lua copies from the buffer.
    pub fn is_pinned(&self) -> bool {
        self.0.is_pinned()
    }

    /// See `Streaming::quick`.
    pub fn quick(&self, pattern: Pattern) -> Option<(u64, *const [u8], usize)> {
        let (length, spent) = match &*self.0.look()? {
            Item::Stream(conn) if !self.0.is_pinned() => easy(conn.buffered(), pattern)?,
            _ => return None,
        };
        let (turn, bytes) = self.0.front(length)?;
        Some((turn, bytes, spent))
    }

    /// Takes `count` bytes from the buffer, unless Lua is copying from it.
    pub fn spend(&self, count: usize) {
        if let Ok(mut item) = self.item()
            && let Item::Stream(conn) = &mut *item
        {
            conn.consume(count);
        }
    }
}

impl Buffered for Slot {
    fn front(&self, length: usize) -> Option<(u64, *const [u8])> {
        self.0.front(length)
    }

    fn pin(&self, on: bool) {
        self.0.pin(on);
    }

    fn taken(&self, turn: u64, count: usize) -> bool {
        let done = self.0.taken(turn, count);
        self.sweep();
        done
    }
}

/// An object's two timeouts, in seconds; negative: none.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    pub block: f64,
    pub total: f64,
}

/// LuaSocket's clock has whole milliseconds.
fn limit(seconds: f64) -> Option<Duration> {
    let whole = (seconds >= 0.0).then(|| (seconds * 1e3).floor() / 1e3)?;
    Duration::try_from_secs_f64(whole).ok()
}

impl Timeouts {
    /// The clock of one call. One limit alone bounds the whole call; of two, the total does, and each wait of it is
    /// at most `block`. `timeout` where the block of `within` that the call is in has ended, though it might not have to wait.
    pub fn start(self) -> Outcome<Clock> {
        check_block("call")?;
        let (block, total) = (limit(self.block), limit(self.total));
        Ok(match total {
            None => Clock { whole: Deadline::new(block), each: None },
            Some(_) => Clock { whole: Deadline::new(total), each: block },
        })
    }
}

/// The deadline of one call, and of each wait in it.
pub struct Clock {
    whole: Deadline,
    each: Option<Duration>,
}

impl Clock {
    /// True if the call must not wait.
    pub fn is_now(&self) -> bool {
        self.whole.is_now() || self.each == Some(Duration::ZERO)
    }

    /// Makes one wait.
    pub fn wait<T>(&self, wait: impl FnOnce(&Deadline) -> T) -> T {
        match self.each {
            None => wait(&self.whole),
            each => wait(&self.whole.within(each)),
        }
    }
}

/// How far the descriptor of an object is with `connect`.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Attempt {
    /// Nobody has called it, or it has succeeded.
    #[default]
    None,
    /// Under way, without a wait: to this host and port, of whose addresses it is the one at that place.
    Started(String, usize),
    /// It failed: the next one takes a new socket.
    Failed,
}

/// An object of the drop-in.
pub struct Object {
    pub home: Rc<Home>,
    slot: RefCell<Rc<Slot>>,
    /// What was buffered when the object was closed: LuaSocket's objects still hand that on.
    pub left: RefCell<Vec<u8>>,
    /// `None` until the first address decides.
    pub family: Cell<Option<Family>>,
    pub datagrams: bool,
    pub timeouts: Cell<Timeouts>,
    pub received: Cell<f64>,
    pub sent: Cell<f64>,
    /// When it was born, by the clock of `uptime`.
    born: Cell<f64>,
    /// Where the program bound it, to bind the socket of the next address there too.
    pub bound: RefCell<Option<Bindable>>,
    /// How far `connect` is: what becomes of the descriptor when the program calls it again.
    pub attempt: RefCell<Attempt>,
    /// Options that were set: each socket that is made for the object gets them.
    pub settings: RefCell<Vec<Setting>>,
}

impl Object {
    pub fn new(home: &Rc<Home>, family: Option<Family>, datagrams: bool, item: Item) -> Rc<Object> {
        let object = Rc::new(Object {
            home: Rc::clone(home),
            slot: RefCell::new(Slot::new(item)),
            left: RefCell::default(),
            family: Cell::new(family),
            datagrams,
            timeouts: Cell::new(Timeouts { block: -1.0, total: -1.0 }),
            received: Cell::new(0.0),
            sent: Cell::new(0.0),
            born: Cell::new(uptime().as_secs_f64()),
            bound: RefCell::default(),
            attempt: RefCell::default(),
            settings: RefCell::default(),
        });
        home.add(&object);
        object
    }

    pub fn slot(&self) -> Rc<Slot> {
        Rc::clone(&self.slot.borrow())
    }

    /// Runs `act` on the slot without counting it.
    pub fn with_slot<T>(&self, act: impl FnOnce(&Slot) -> T) -> T {
        act(&self.slot.borrow())
    }

    /// The descriptor's number, -1 for none.
    pub fn number(&self) -> RawFd {
        self.with_slot(Slot::number)
    }

    /// Runs `act` on the descriptor.
    pub fn with_fd<T>(&self, act: impl FnOnce(BorrowedFd<'_>) -> Outcome<T>) -> Outcome<T> {
        self.with_slot(|slot| match slot.look()?.fd() {
            Some(fd) => act(fd),
            None => fail(NO_DESCRIPTOR),
        })
    }

    /// Runs `act` on a socket that is no stream.
    pub fn with_bare<T>(&self, act: impl FnOnce(&Bare) -> Outcome<T>) -> Outcome<T> {
        self.with_slot(|slot| match &*slot.look()? {
            Item::Bare(bare) => act(bare),
            Item::Stream(_) => fail("Invalid argument"),
            Item::None => fail(NO_DESCRIPTOR),
        })
    }

    /// Puts a new socket in the object's hands; the old one closes, unless another object has it too.
    pub fn put(&self, item: Item) -> Outcome<()> {
        let old = self.with_slot(|slot| slot.item().map(|mut place| std::mem::replace(&mut *place, item)))?;
        drop(old);
        self.attempt.take();
        Ok(())
    }

    /// Makes a stream of its socket, or of what will be one when its connection stands: from now on it has a buffer.
    pub fn turn_into_stream(&self, peer: &str) -> Outcome<()> {
        self.with_slot(|slot| {
            let mut item = slot.item()?;
            *item = match std::mem::replace(&mut *item, Item::None) {
                Item::Bare(bare) => Item::Stream(Conn::plain(bare.into_wire(peer))),
                other => other,
            };
            Ok(())
        })
    }

    /// Closes it. What is buffered can still be received. Fine more than once.
    pub fn close(&self) {
        if let Item::Stream(conn) = self.with_slot(Slot::take)
            && let Ok(mut left) = self.left.try_borrow_mut()
        {
            left.extend_from_slice(conn.buffered());
        }
    }

    /// Takes the stream out of it, as after `getfd` and `setfd(-1)`.
    pub fn give(&self) -> Option<Conn> {
        let slot = self.slot();
        let conn = match &mut *slot.item().ok()? {
            item @ Item::Stream(_) => match std::mem::replace(item, Item::None) {
                Item::Stream(conn) => conn,
                _ => return None,
            },
            _ => return None,
        };
        Some(conn)
    }

    /// `setfd`: the object names another descriptor from now on. The old one is not closed.
    pub fn rename(&self, number: RawFd, adopt: impl FnOnce(RawFd) -> Bare, class: Class) -> Outcome<()> {
        if number == self.number() {
            return Ok(());
        }
        // Refused in mid-copy: the buffer must stay where it is.
        self.with_slot(|slot| slot.item().map(drop))?;
        let new = match (number >= 0).then(|| self.home.find(number)) {
            None => Slot::new(Item::None),
            Some(Some(slot)) => slot,
            Some(None) if self.home.native => Slot::new(match class {
                Class::TcpClient | Class::StreamClient => {
                    Item::Stream(Conn::plain(adopt(number).into_wire("a descriptor")))
                }
                _ => Item::Bare(adopt(number)),
            }),
            Some(None) => {
                return fail(format!(
                    "descriptor {number} is not a socket of this program; --allow-native would allow it"
                ));
            }
        };
        self.attempt.take();
        self.with_slot(|old| new.0.follow(&old.0));
        let old = self.slot.replace(new);
        if Rc::strong_count(&old) == 1 && old.number() >= 0 {
            match self.home.native {
                // Somebody else's from now on, who closes it.
                true => std::mem::forget(old),
                false => self.home.strays.borrow_mut().push(old),
            }
        }
        Ok(())
    }

    /// Seconds since the object was made, or as `setstats` has it.
    pub fn age(&self) -> f64 {
        uptime().as_secs_f64() - self.born.get()
    }

    pub fn set_age(&self, age: f64) {
        self.born.set(uptime().as_secs_f64() - age);
    }
}
