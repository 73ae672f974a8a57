// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/sas"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

const (
	// demoTime bounds the demonstration, which takes a second or two.
	demoTime = 30 * time.Second
	// demoFile is the size of the file that is sent.
	demoFile = 1 << 20
	// demoPassword is that of the accounts, which live as long as the server.
	demoPassword = "demonstration"
)

// What the two write to each other.
const (
	fromAlice = "hello bob, the server cannot read this"
	fromBob   = "hello alice, nor this"
)

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "show what this is, without account and network",
		Long: `Demo starts an XMPP server inside this process, logs two clients in on it, opens a
tunnel between them, and shows what the server sees of it. Then the server turns
dishonest, in four ways. Nothing is left behind, nothing leaves the machine. The
exit code is 0 if everything went as it should.`,
		Args: argsBetween(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context()) },
	}
}

// A demo is one demonstration.
type demo struct {
	a          *app
	server     *xtlstest.Server
	saw        *recorder
	alice, bob *actor
}

// An actor is one of the clients. Its key and what it knows live in memory.
type actor struct {
	*xtls.Client
	trust *fingerprint.Store
	asked int // how often it was asked about an unknown key; all tunnels are opened one by one
	user  func(context.Context, sas.Code) (sas.Result, error)
}

func (a *app) demo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoTime)
	defer cancel()
	d := &demo{a: a, saw: newRecorder()}
	var err error
	d.server, err = xtlstest.Start(xtlstest.Config{
		Domain: "demo.local", OnStanza: d.saw.add,
		Accounts: map[string]string{"alice": demoPassword, "bob": demoPassword},
	})
	if err != nil {
		return err
	}
	defer d.server.Close()
	d.tell("server", "An XMPP server runs inside this process: %s (TLS, throw-away certificate)", "addr", d.server.Addr())
	for _, who := range []struct {
		actor **actor
		name  string
	}{{&d.alice, "alice"}, {&d.bob, "bob"}} {
		account := jid.MustParse(who.name + "@demo.local")
		if *who.actor, err = d.connect(ctx, account, account, nil); err != nil {
			return err
		}
		defer (*who.actor).Close()
		d.tell("key", "%s has made a key, in memory only: %s", "jid", account, "fingerprint", (*who.actor).Fingerprint())
	}
	return d.play(ctx)
}

// play runs the acts.
func (d *demo) play(ctx context.Context) error {
	for _, act := range []func(context.Context) error{d.firstContact, d.secondContact, d.dishonest} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	d.a.ui.result(`
Next:  xtls-demo login you@your-server          store your account
       xtls-demo serve --stdio                  on one side
       echo hello | xtls-demo nc you@server     on the other
       xtls-demo help`)
	return nil
}

// tell prints one fact: format gets the values of fields.
func (d *demo) tell(fact, format string, fields ...any) {
	var values []any
	for i := 1; i < len(fields); i += 2 {
		v := fields[i]
		if f, ok := v.(fingerprint.Fingerprint); ok {
			v = f.Grouped()
		}
		values = append(values, v)
	}
	d.a.ui.event("demo", append([]any{"fact", fact}, fields...)...)
	d.a.ui.result(format, values...)
}

// connect logs an account in; owner is whose key it says it has, and user is who
// compares codes, which may be set before there is one to compare.
func (d *demo) connect(ctx context.Context, account, owner jid.JID, user func(context.Context, sas.Code) (sas.Result, error)) (*actor, error) {
	cert, err := fingerprint.NewIdentity(owner)
	if err != nil {
		return nil, err
	}
	who := &actor{trust: fingerprint.NewMemory(), user: user}
	who.Client, err = xtls.Connect(ctx, account, demoPassword, &xtls.Config{
		Certificate: cert, Trust: who.trust, Security: xtls.Security(d.a.set.security), LoggerFactory: d.a.ui.loggers(),
		Server: d.server.Addr(), ServerTLS: d.server.ClientTLS(),
		Verify: func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
			who.asked++ // the user answers "compare"
			return v.SAS(ctx, who.user)
		},
	})
	if err != nil {
		return nil, err
	}
	return who, nil
}

// open opens a tunnel from one actor to another. Both ends are returned, or the
// errors of both; the responder's is nil if it never got an offer.
func (d *demo) open(ctx context.Context, from, to *actor, find bool) (dialled, accepted *xtls.Conn, dialErr, acceptErr error) {
	l, err := to.Listen()
	if err != nil {
		return nil, nil, err, nil
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type end struct {
		conn *xtls.Conn
		err  error
	}
	ends := make(chan end, 1)
	go func() {
		o, err := l.Next(ctx)
		if err != nil {
			ends <- end{}
			return
		}
		conn, err := o.Accept(ctx)
		ends <- end{conn, err}
	}()
	peer := to.LocalAddr()
	if find {
		var found []jid.JID
		if found, err = from.Find(ctx, peer.Bare(), xtls.Tunnel("")); err == nil {
			peer = found[0]
		}
	}
	if err == nil {
		dialled, err = from.Dial(ctx, peer, xtls.Tunnel(""))
	}
	if err != nil {
		cancel()
	}
	other := <-ends
	return dialled, other.conn, err, other.err
}

// firstContact opens a tunnel, uses it, and shows what the server saw.
func (d *demo) firstContact(ctx context.Context) error {
	d.saw.restart()
	phone := newTelephone()
	d.alice.user, d.bob.user = phone.user("alice", "bob"), phone.user("bob", "alice")
	alice, bob, err, other := d.open(ctx, d.alice, d.bob, true)
	if err = errors.Join(err, other); err != nil {
		return err
	}
	defer alice.Close()
	defer bob.Close()
	d.diagram()
	d.tell("first", "First contact: alice and bob have never talked. Each reads a code to the other by\ntelephone and types what is heard:")
	d.codes("codes", phone)
	s := alice.State()
	d.tell("tunnel", "The tunnel is up: %s, %s, post-quantum %s, path %s. For alice, the key of bob is %s.",
		"tls", s.Protocol(), "group", s.Group, "pq", yesNo(s.PostQuantum()), "path", s.Transport, "standing", standing(s))
	d.a.ui.result("")
	if err := d.talk(alice, bob); err != nil {
		return err
	}
	file := make([]byte, demoFile)
	rand.Read(file)
	if err := d.send(alice, bob, file); err != nil {
		return err
	}
	return d.whatTheServerSaw(s.Fingerprint, file)
}

// talk sends a line each way.
func (d *demo) talk(alice, bob *xtls.Conn) error {
	for _, line := range []struct {
		name     string
		from, to *xtls.Conn
		text     string
	}{{"alice", alice, bob, fromAlice}, {"bob", bob, alice, fromBob}} {
		if _, err := io.WriteString(line.from, line.text); err != nil {
			return err
		}
		got := make([]byte, len(line.text))
		if _, err := io.ReadFull(line.to, got); err != nil {
			return err
		}
		if string(got) != line.text {
			return errors.New("the text arrived altered")
		}
		d.tell("text", "%s> %s", "from", line.name, "text", string(got))
	}
	return nil
}

// send sends a file from alice to bob and ends the tunnel.
func (d *demo) send(alice, bob *xtls.Conn, file []byte) error {
	start := time.Now()
	sent := make(chan error, 1)
	go func() {
		_, err := alice.Write(file)
		if err == nil {
			err = alice.CloseWrite()
		}
		sent <- err
	}()
	got, err := io.ReadAll(io.LimitReader(bob, demoFile+1))
	if err = errors.Join(err, <-sent); err != nil {
		return err
	}
	took := time.Since(start)
	if err = errors.Join(bob.CloseWrite(), bob.Close(), alice.Close()); err != nil {
		return err
	}
	want, have := sha256.Sum256(file), sha256.Sum256(got)
	if want != have || !bytes.Equal(file, got) {
		return errors.New("the file arrived altered")
	}
	d.tell("file", "alice sends %d octets in %.2f s; SHA-256 on both sides %s", "octets", len(got), "seconds", took.Seconds(), "sha256", fmt.Sprintf("%x", have))
	return nil
}

// secondContact opens another tunnel: nobody is asked again.
func (d *demo) secondContact(ctx context.Context) error {
	alice, bob, err, other := d.open(ctx, d.alice, d.bob, true)
	if err = errors.Join(err, other); err != nil {
		return err
	}
	s := alice.State()
	if err := errors.Join(alice.Close(), bob.Close()); err != nil {
		return err
	}
	if d.alice.asked != 1 || d.bob.asked != 1 || s.Level != xtls.LevelVerified {
		return fmt.Errorf("on the second contact the key is %s, and alice was asked %d times", s.Level, d.alice.asked)
	}
	d.tell("second", "\nSecond contact: nobody is asked. For alice, the key of bob is %s.\nAs they know each other, the path is %s.", "standing", standing(s), "path", s.Transport)
	return nil
}
