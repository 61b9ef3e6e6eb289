"""
The seams: what a part promises to the part that calls it.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from corotwist.totem.membership import Configuration, Guarantee, NodeStatus, RingId

# Below the ring.


class IDatagramReceiver(Interface):
    """
    Whoever gets what a transport hears.
    """

    def datagramsReceived(datagrams: Sequence[bytes], address: Any) -> None:
        """
        Datagrams that came in one after the other from C{address}, a socket
        address tuple; several when the kernel handed up several at once.
        """


class ITransport(Interface):
    """
    Sockets and addressing of one kind of network.  Datagrams are opaque.
    """

    def start(receiver: IDatagramReceiver) -> None:
        """
        Bind and begin to listen.

        @raise OSError: when the address cannot be bound.
        """

    def stop() -> Deferred[None]:
        """
        Close; fires when nothing more will be handed up.
        """

    def unicast(nodeid: int, datagram: bytes) -> None:
        """
        Send to one configured node other than ourselves.  A datagram that the
        kernel refuses is lost, and counted.
        """

    def multicast(datagrams: Sequence[bytes]) -> None:
        """
        Send each to every other node, in order.  Nothing comes back to us.
        """

    def drain() -> None:
        """
        Hand up, before returning, what waits in the sockets now (at most a
        bounded number of datagrams).
        """

    def statistics() -> Mapping[str, int]:
        """
        Counters by name: datagrams sent, refused, unlisted and so on.
        """


class IRingStorage(Interface):
    """
    The numbers that must survive a restart.
    """

    def load() -> int | None:
        """
        The stored ring sequence; L{None} when there is none or it is damaged.

        @raise StorageRefused: when the directory cannot be used at all.
        """

    def store(sequence: int) -> Deferred[None]:
        """
        Fires when the number is durable; fails with C{StorageRefused}.
        """

    def stamp(now: int) -> int:
        """
        A number above all that were given to earlier starts: C{now}, unless
        the clock went back.  It is durable when this returns.

        @param now: nanoseconds since 1970, as the wall clock has it.
        @raise StorageRefused: when it cannot be kept.
        """


class INotes(Interface):
    """
    Small things that engines keep beyond a restart: a file each, in the state
    directory.
    """

    def loadNote(name: str) -> bytes | None:
        """
        What was stored last; L{None} when nothing was, or nothing can be read.
        """

    def storeNote(name: str, data: bytes) -> Deferred[None]:
        """
        Fires when it is durable: a crash leaves what was there before, or this;
        fails with C{StorageRefused}.
        """


class ITotemListener(Interface):
    """
    Whoever uses the total order: the service manager.

    Calls never overlap, and none is made from within a call to
    L{ITotem.multicast}.
    """

    def configurationChanged(configuration: Configuration) -> None:
        """
        A transitional or a regular configuration.
        """

    def messageDelivered(
        nodeid: int,
        message: bytes,
        byteOrder: str,
        guarantee: Guarantee = Guarantee.AGREED,
    ) -> None:
        """
        The next whole message in the total order.

        @param message: as given to C{multicast}, group header included.
        @param byteOrder: C{"<"} or C{">"}: the sender's.
        @param guarantee: L{Guarantee.SAFE} when it was delivered as safe, else
            L{Guarantee.AGREED}; the same on every member.  What the sender
            packed into one frame with the end of a safe message is safe too.
        """

    def tokenPassed() -> None:
        """
        The token left us; there may be room to send again.
        """


class ITotem(Interface):
    """
    The total order, as the service manager sees it.
    """

    nodeid = Attribute("Our own nodeid.")

    def multicast(message: bytes, guarantee: Guarantee = Guarantee.AGREED) -> bool:
        """
        Queue a whole message, group header included.

        @return: C{False}, and nothing is queued, when the queue in use has no
            room for all of it.
        """

    def room() -> int:
        """
        How many bytes of message C{multicast} would take now.
        """

    def whenStable(callback: Callable[[tuple[int, ...]], None]) -> None:
        """
        Call once, when every member of the configuration in force has all that
        has been delivered here in it, up to now.  Nobody needs to have sent
        anything as safe for that.

        When the ring changes before, it is called for those who came along:
        they have delivered the same.  It is never called from within this
        call, and not at all when the node stops first.

        @param callback: told who has it: they have delivered it, or will,
            unless they fail.
        @raise TryAgain: there is no ring yet, or too many wait.
        """

    def leaseEnds() -> float:
        """
        Until when no member of our ring can be on one without us, on the
        ring's own clock, in seconds; minus infinity when we are on none, or
        do not know yet.  See L{corotwist.totem.lease} for what that rests upon.
        """

    def nodeStatus(nodeid: int) -> NodeStatus:
        """
        Can a node be heard, on which links, and when was it last?

        @raise NotExist: it is not in the node list.
        """

    def activateKey() -> None:
        """
        Seal with the key of the settings in force from here on: everybody
        opens that.
        """

    def dropOldKeys() -> None:
        """
        Open only what that key sealed from here on: everybody seals with it.
        """

    def synchronized() -> None:
        """
        The services finished synchronizing: use the ordinary queue again.
        """

    def reform() -> None:
        """
        Form the ring anew of the processors that are in it, so that the
        services synchronize once more: one of them has only begun.
        """

    def reenable() -> None:
        """
        Try at once what was given up for a while: failed links, and a ring with
        nodes that we keep away from.
        """


# Above the ring.


class IConnection(Interface):
    """
    One local client, as an engine sees it.
    """

    pid = Attribute("The client's process id, from the kernel.")
    uid = Attribute("The client's user id, from the kernel.")
    gid = Attribute("The client's group id, from the kernel.")
    private = Attribute("What each engine's C{privateData} made, by the engine's name.")
    usage = Attribute("What it asked and was told, in numbers.")
    behind = Attribute("Does it read more slowly than it is sent to?")

    def tell(command: Any, **arguments: Any) -> None:
        """
        Send an event: it waits, within bounds, until the client reads it.

        @param command: an AMP command that needs no answer.
        """

    def engineChanged(news: Any) -> None:
        """
        Something happened to an engine of this node: an C{EngineNews}.
        """

    def shutdownAhead(reason: str, holding: Sequence[str]) -> None:
        """
        The node is to stop, as soon as some things have moved away.

        @param holding: which; for people.
        """


class IFlowGroup(Interface):
    """
    Whoever receives something together: while one of them is behind, those who
    send to them wait, on every node.  [ARCH Figure 9, A100]
    """

    count = Attribute("How many of its receivers at this node are behind.")
    paused = Attribute("Are its senders to wait, for a receiver on any node?")

    def increment() -> None:
        """
        One more receiver is behind.
        """

    def decrement() -> None:
        """
        It has caught up, or is gone.
        """

    def destroy() -> None:
        """
        There are no receivers at this node any more.
        """


class ICluster(Interface):
    """
    What an engine may ask of its node.  [ARCH Figure 9]

    Time is integer nanoseconds here, and only here.
    """

    nodeid = Attribute("Our own nodeid.")
    database = Attribute("The node's configuration and statistics: a C{Database}.")
    budget = Attribute(
        "Bytes that this engine may hold for those who wait: a C{Budget}, to take"
        " from and give back to."
    )
    operations = Attribute("What operators may ask of the node: L{IOperations}.")
    notes = Attribute("What is kept beyond a restart: L{INotes}, or L{None}.")

    def multicast(
        function: int, body: bytes, guarantee: Guarantee = Guarantee.AGREED
    ) -> None:
        """
        Multicast to this engine on every node, ours included.

        @param function: index into the engine's executive functions.
        @param body: what follows corosync's 16-byte header.
        @raise TryAgain: when the send queue has no room; nothing was queued.
        """

    def multicastCompact(body: bytes, guarantee: Guarantee = Guarantee.AGREED) -> None:
        """
        The same in corotwist's own short form, of which real corosync nodes
        know nothing: only while L{compact} is true.

        @raise TryAgain: as C{multicast}.
        """

    def compact() -> bool:
        """
        Did every member of this ring say that it understands the short form?
        """

    def everybody(feature: int) -> bool:
        """
        Did every member of this ring say that it understands this bit of
        C{corotwist.engines.compact.Feature}?
        """

    def guarantee() -> Guarantee:
        """
        That of the message that is being delivered: L{Guarantee.SAFE} or
        L{Guarantee.AGREED}; see L{ITotemListener.messageDelivered}.
        """

    def synchronizing() -> bool:
        """
        Is the cluster between a membership change and the end of its
        synchronization?  No client message is sent then.
        """

    def whenRoom(callback: Callable[[], None]) -> None:
        """
        Call once, soon after the send queue got room or synchronization
        ended; callbacks are called in the order they were asked for.
        """

    def whenStable(callback: Callable[[tuple[int, ...]], None]) -> None:
        """
        See L{ITotem.whenStable}.
        """

    def leaseEnds() -> int:
        """
        Until when no member of our ring can be on one without us, on the clock
        of L{now}; -1 when that is not known.  See L{ITotem.leaseEnds}.
        """

    def flowCreate(name: bytes, changed: Callable[[bool], None]) -> IFlowGroup:
        """
        Begin a flow-control group that nodes know by this name, of at most 255
        bytes.  Its receivers count themselves in and out; who sends to them
        waits while it is paused.

        @param changed: called with C{True} when it gets paused, with C{False}
            when it is not any more; never in the middle of synchronization.
            How it is in the beginning, the group says.
        """

    def members() -> tuple[int, ...]:
        """
        The regular configuration in force.
        """

    def ringId() -> RingId:
        """
        Its name.
        """

    def view() -> Any:
        """
        Who is here, and may they act: the C{View} in force, or the last one
        while there is none.
        """

    def position() -> int:
        """
        How many messages were delivered on this ring, the one that is being
        delivered among them: the same number at the same message on all
        members.
        """

    def now() -> int:
        """
        Nanoseconds of a clock that only rises.
        """

    def timeOfDay() -> int:
        """
        Nanoseconds since 1970.
        """

    def callAfter(delayNs: int, callback: Callable[[], None]) -> Any:
        """
        A timer by duration: setting the time of day does not move it.

        @return: a handle for C{cancel} and C{expiresAt}.
        @raise NoSpace: this engine has too many.
        """

    def callAt(timeNs: int, callback: Callable[[], None]) -> Any:
        """
        A timer by time of day: when that is set, forwards or backwards, it
        follows.

        @return: a handle for C{cancel} and C{expiresAt}.
        @raise NoSpace: this engine has too many.
        """

    def cancel(timer: Any) -> None:
        """
        Forget a timer; harmless when it fired or was cancelled already.
        """

    def expiresAt(timer: Any) -> int:
        """
        When a pending timer fires, on the clock of C{now}; 0 when it does not.
        """

    def misses() -> Sequence[tuple[int, int]]:
        """
        When this process did not run although it should have: at most ten
        times in nanoseconds since 1970, each with how many nanoseconds it did
        not run; the latest first.
        """

    def onToken(callback: Callable[[], object]) -> Any:
        """
        Call at each visit of the token, until C{callback} says C{True}.

        @return: has a method C{stop}.
        @raise NoSpace: there are too many at this node.
        """

    def schedule(step: Callable[[], bool]) -> Deferred[None]:
        """
        Do a little at each visit of the token, until C{step} says C{True}; a
        C{TryAgain} that it lets out counts as not done.

        @return: fires when it is done; fails with what C{step} raised.
            Cancelling it ends the work.
        @raise NoSpace: there is too much at this node.
        """

    def source(connection: IConnection) -> Any:
        """
        Whose request it is, to be sent along in messages (a C{Source}, with
        C{encode}; C{Source.decode} reads it).

        @raise BadHandle: the client is gone.
        """

    def isLocal(source: Any) -> bool:
        """
        Is it a client of this node?
        """

    def connection(source: Any) -> IConnection:
        """
        The client of a source.

        @raise BadHandle: it is gone, or that of another node.
        """

    def private(connection: IConnection) -> Any:
        """
        What this engine's C{privateData} made for the client.
        """

    def request(connection: IConnection) -> Deferred[Any]:
        """
        A request that will be answered by L{respond}: what its responder
        returns.  Until then this engine does not hear that the client is gone.

        @raise BadHandle: the client is gone.
        @raise TryAgain: too many of its requests are not answered.
        """

    def respond(connection: IConnection, answer: Any) -> bool:
        """
        Answer the oldest request that waits, of this client at this engine.

        @param answer: the values of the AMP answer, or a C{Failure}.
        @return: is the client behind with reading?
        @raise BadHandle: there is none.
        """

    def dispatch(connection: IConnection, event: Any, **arguments: Any) -> bool:
        """
        Send an event to a client: see L{IConnection.tell}.

        @return: is the client behind with reading?
        """

    def retain(connection: IConnection) -> None:
        """
        Do not tell this engine that the client is gone until L{release}, as
        often as it was retained.

        @raise BadHandle: it is gone already.
        """

    def release(connection: IConnection) -> None:
        """
        Give back a reference.

        @raise BadHandle: there was none.
        """

    def quorate() -> bool:
        """
        May this partition act?
        """

    def quorumKnown() -> bool:
        """
        Does somebody on this node count votes, if that is configured?  While
        not, L{quorate} is false here, and may be true on the other nodes of the
        same partition.
        """

    def followQuorum(changed: Callable[[bool], None]) -> Any:
        """
        Be told, now and at each change, whether this partition may act.

        @return: has a method C{stop}.
        """

    def quorumChanged() -> None:
        """
        For the engine that decides: the verdict may be another one.
        """

    def engine(name: str) -> Any:
        """
        Another engine on this node, by name, to use through an interface it
        provides.

        @raise NotExist: when it is not loaded.
        """

    def shutdownRequested(reason: str) -> None:
        """
        Ask the node to stop in order: something is wrong with it.
        """

    def stopRequested(reason: str, *, hasty: bool = False) -> None:
        """
        Have the node stop in order, because an operator wants it.

        @param hasty: nothing may hold it, from now on.
        """

    def nodeKilled(nodeid: int, by: int, reason: str) -> None:
        """
        At this place of the order a node has to end at once; if it is this one,
        it does so before this returns, as far as that is possible.

        @param by: the node where that was asked for.
        """

    def nodeStops(nodeid: int) -> None:
        """
        At this place of the order a node says that it is going to stop: when it
        is gone it is not lost.
        """

    def holdShutdown(reason: str) -> Any:
        """
        From now on a shutdown of the node waits, within the time that the
        configuration allows, and unless it is asked for twice.

        @param reason: for people: what has to move away first.
        @return: has C{release}, and C{reason} to be changed.
        @raise NoSpace: too many hold it.
        """

    def spawn(program: Any) -> Any:
        """
        Start a process and look after it.

        @param program: a C{corotwist.engines.children.Program}.
        @return: a C{corotwist.engines.children.Child}.
        @raise Exists: this engine has a child of that name.
        @raise NoSpace: there are too many.
        @raise NotSupported: this node starts no processes.
        """

    def children() -> Sequence[Any]:
        """
        The children of this engine, also those that an earlier version of it
        started.
        """

    def make(interface: Any, name: str, *given: Any) -> Any:
        """
        Make a component of this node, in its newest version, from the reactor
        and what is given.

        @param interface: of its maker: L{IQuorumDeviceMaker}.
        @raise NotExist: there is none of that name; the text says which there
            are.
        """

    def addresses(nodeid: int) -> Sequence[Any]:
        """
        Those of a node, one for each link.

        @raise NotExist: it is not in the node list.
        """

    def nodeStatus(nodeid: int) -> NodeStatus:
        """
        See L{ITotem.nodeStatus}.

        @raise NotExist: it is not in the node list.
        """

    def activateKey() -> None:
        """
        See L{ITotem.activateKey}.
        """

    def dropOldKeys() -> None:
        """
        See L{ITotem.dropOldKeys}.
        """

    def reenableLinks() -> None:
        """
        Try at once what was given up: links that failed, and nodes that we keep
        away from since we could not receive what they sent.  All that happens
        by itself, later.
        """

    def dumpState() -> Mapping[str, Any]:
        """
        The state of every engine and of what the node has for them, as JSON
        values.
        """

    def memoryFailed(what: str) -> None:
        """
        The engine could not get memory for C{what}: it is counted and shown,
        and the node does what the configuration says: takes less work, or
        stops.
        """


class IShutdownAware(Interface):
    """
    An engine that has to do something before the node stops, while everything
    still works.
    """

    def shutdownProposed(reason: str) -> None:
        """
        The node is to stop: take a hold, unless there is one already, and move
        away what has to.
        """


class IConverting(Interface):
    """
    An engine that would rather not look at byte orders.
    """

    def littleEndian(function: int, body: bytes) -> bytes:
        """
        The body of a message of a node that sends big endian, as one that sends
        little endian would have sent it; C{messageDelivered} gets this.
        """


class ISynchronized(Interface):
    """
    The four stages after each membership change.  [ARCH Synchronization]

    They run engine by engine, in the order of service ids; the next engine
    starts when every member finished this one.
    """

    def synchronizationStarted(
        transitional: tuple[int, ...], members: tuple[int, ...], ringId: RingId
    ) -> None:
        """
        A round begins.

        @param transitional: who came along with us through every change since
            this service last completed a round.
        """

    def synchronize() -> bool | Deferred[Any] | Generator[Any, Any, Any]:
        """
        Send what the others need to know.

        @return: C{True} when all is sent; C{False} to be called again when the
            token has passed (the queue was full; letting a C{TryAgain} out says
            the same).  Or a generator, which goes on at each visit of the token
            to its end, or a Deferred, which is waited for; they are closed or
            cancelled when the round is aborted.
        """

    def synchronizationCompleted() -> None:
        """
        Every member finished: use what was learned.
        """

    def synchronizationAborted() -> None:
        """
        The membership changed first: forget what was learned in this round.
        """


class IServiceEngine(Interface):
    """
    A cluster-wide service.  [ARCH Figure 8]; ids A58 to A74 in the feature map.

    Everything an engine does follows from what it is called with; it knows
    neither sockets nor AMP.
    """

    name = Attribute("Shown to people, C{'cpg'}; unique on a node.")
    serviceId = Attribute("16 bits, unique in the cluster.")
    version = Attribute("Of the implementation, an C{int}; the highest wins.")
    priority = Attribute("Engines start in ascending and stop in descending priority.")
    flowControl = Attribute(
        "Which requests of clients wait while the send queue is full: C{True} for"
        " all, C{False} for none, or the names of the commands."
    )
    allowInquorate = Attribute(
        "May clients use it without quorum?  If not, their requests are refused"
        " with C{NotQuorate}."
    )
    requires = Attribute(
        "Names of engines that it uses: a tuple.  They start before it and stop"
        " after it, and are not unloaded while it is there."
    )

    def configure(settings: Any) -> None:
        """
        Look at the configuration (a C{NodeSettings}), before any engine
        starts.

        @raise ConfigurationError: it cannot be used; every engine is asked,
            so that the operator hears of everything at once.
        """

    def initialize(cluster: ICluster, settings: Any) -> Deferred[None] | None:
        """
        Start, on a node configured by C{settings} (a C{NodeSettings}).  A
        failure stops the node from starting.
        """

    def shutdown() -> bool | Deferred[Any]:
        """
        Stop.

        @return: C{True}; or C{False} to be asked again a little later: still
            busy; or a Deferred, which is waited for a while.
        """

    def dump() -> Mapping[str, Any]:
        """
        The state, as JSON values, for people.
        """

    def privateData(connection: IConnection) -> Any:
        """
        A client connected: what to keep at C{connection.private}.
        """

    def connectionClosed(connection: IConnection) -> None:
        """
        A client is gone, for whatever reason.
        """

    def configurationChanged(configuration: Configuration) -> None:
        """
        Regular or transitional, at its place in the order of messages.
        """

    def messageDelivered(
        nodeid: int, function: int, body: bytes, byteOrder: str
    ) -> None:
        """
        A message of ours in the total order.

        @param body: what follows the 16-byte header.
        @param byteOrder: the sender's: which converter to use.
        """

    def compactDelivered(nodeid: int, body: bytes) -> None:
        """
        A message in the short form; always little endian.
        """

    def compactMissed(body: bytes) -> None:
        """
        A message of ours in the short form waited in the send queue while the
        ring changed, and came out on a ring that it does not name: no node
        has used it.  Send it again, in the form that is right now.
        """


class IReplaceable(Interface):
    """
    An engine that can give its work to another version of itself while the
    node runs.  [ARCH Live Component Replacement]

    Both calls are made between two deliveries, one directly after the other,
    and never in the middle of a round of synchronization.
    """

    def handOver() -> Any:
        """
        Everything the successor needs: clients, state, what waits to be sent.
        From here on this engine does nothing more, unless it gets all of it
        back through L{takeOver}, because the successor failed.

        @return: plain values under documented keys, and what outlives an
            engine: subscribers, and what clients wait for.
        @raise Exception: we cannot; nothing has changed.
        """

    def takeOver(state: Any, version: int) -> None:
        """
        Go on where another engine stopped.  Called after C{initialize}, on an
        engine that could not send anything yet, and can from the next turn on.

        @param state: as its L{handOver} returned it.
        @param version: of the engine that it is from: older or newer than we
            are, or the same.
        @raise Exception: we cannot; nothing of the state was changed.
        """


class IReconfigurable(Interface):
    """
    An engine that takes changed settings while the node runs.
    """

    def reconfigurationProposed(settings: Any) -> None:
        """
        Look at a C{NodeSettings}; nothing changes yet.

        @raise ConfigurationError: it cannot be used; nothing of it is applied
            then, by anybody.
        """

    def reconfigured(settings: Any) -> None:
        """
        Everybody agreed: use it.
        """


class IOperations(Interface):
    """
    What an operator may ask of a node: through a service, or by writing keys.
    """

    def follows(name: str) -> bool:
        """
        Is it a key that changes what the node does, and so is written with
        L{changed} only?
        """

    def changed(changes: Mapping[str, Any]) -> None:
        """
        Write keys and act on them; either on all of them or on none.

        @param changes: a C{Value} by name, or L{None} for a key that goes.
        @raise InvalidParameter: what is wrong, or needs a restart.
        @raise Busy: a reload is on its way.
        """

    def propose(*, force: bool = False) -> Deferred[Any]:
        """
        Read the configuration again, and ask everybody who would have to
        change.  Nothing changes yet, and nobody else may propose anything until
        L{apply} or L{abandon}.

        @param force: take an older C{config_version} too.
        @return: fires with a C{Proposal}: C{report} is it for people, as JSON
            values, and C{refused} whether it may be applied.  Fails with
            L{Busy}.
        """

    def apply(proposal: Any) -> None:
        """
        Change what the proposal says, which is not refused.
        """

    def abandon(proposal: Any, reason: str = "") -> None:
        """
        Change nothing.

        @param reason: why, for the operator; nothing if that was the plan.
        """

    def reload(*, dryRun: bool = False, force: bool = False) -> Deferred[Any]:
        """
        L{propose}, then L{apply} if nobody is against it.

        @param dryRun: only tell what would be.
        @return: fires with the report.  Fails as L{propose} does.
        """

    def save() -> Deferred[str]:
        """
        Write the keys of the node to its configuration file; what they do not
        change there stays, comments included.

        @return: fires with the path.  Fails with C{ConfigurationError}, and
            with C{NotSupported} when there is no file.
        """

    def reopenLogs() -> None:
        """
        Open the log files anew, after somebody moved them away.
        """

    def dumpLogs(reason: str) -> Deferred[str]:
        """
        Write the flight recorder to a file.

        @return: fires with its path.
        """


class IEngineMaker(Interface):
    """
    The plug-in that names an engine without importing it.
    """

    name = Attribute("The engine's name.")
    version = Attribute("The engine's version.")

    def wanted(settings: Any) -> bool:
        """
        Does a node configured by C{settings} (a C{NodeSettings}) run it?
        """

    def load() -> Any:
        """
        Import and construct the L{IServiceEngine}.
        """

    def responders() -> Any:
        """
        The factory of its AMP responder locator, called with the engine and
        the connection, or L{None} when clients cannot talk to it.
        """


class ITransportMaker(Interface):
    """
    The component that makes transports of one kind.
    """

    name = Attribute("As C{totem.transport} has it.")
    version = Attribute("Of the implementation, an C{int}; the highest wins.")

    def load() -> Callable[[Any, Any], ITransport]:
        """
        Import what makes the L{ITransport}, from the reactor and the
        C{TotemSettings}.
        """


class IConfigurationEngine(Interface):
    """
    A format of configuration files.  [ARCH Figure 7]

    One is found as service engines are: a package ships a provider, which is
    also a C{twisted.plugin.IPlugin}, in C{twisted/plugins/its_plugin.py}.
    """

    name = Attribute("Chooses it, as in C{toml:/etc/cluster}; letters and digits.")
    version = Attribute("Of the implementation, an C{int}; the highest wins.")
    suffixes = Attribute(
        "Ends of file names that choose it: C{'.toml'}, or C{'/name.conf'} for"
        " a whole name."
    )
    summary = Attribute("One line for people.")

    def read(content: bytes, file: str) -> Any:
        """
        Understand a file (a C{corotwist.config.document.Reading}), with a
        problem for everything that cannot be understood.

        @param file: its name, for places and problems.
        """

    def write(document: Any, original: bytes = b"") -> Any:
        """
        The text of a file (a C{corotwist.config.document.Written}) that holds a
        document (a C{corotwist.config.document.Section}).

        @param original: what is in the file now, when the document was read
            from it: what did not change may stay as it was written.
        @raise ConfigurationError: the document has names or values that the
            format has no way to write.
        """
