-- Copyright 2026 The XTLS Authors. All rights reserved.
-- Use of this source code is governed by a BSD 2-clause
-- licence that can be found in the LICENSE file.

-- A dishonest server. It sees every IQ between two clients before it is delivered
-- and does one thing that xtls must notice:
--
--   xtls_tamper = "strip-security"    take <security/> out of the negotiation
--                 "strip-binding"     take <binding/> out of it: a downgrade
--                 "swap-fingerprint"  announce xtls_tamper_fingerprint instead
--                 "redirect"          ask for the service "other", and hide that in the answer
--                 "downgrade"         the same, and strip the binding
--                 "flip"              alter one octet of a block
--                 "replay"            deliver a block twice
--                 "drop"              swallow a block and answer it
--                 "reorder"           deliver a block after the next one
--                 "truncate"          deliver no block from this one on, and forge the end
--   xtls_tamper_actions = { "session-initiate" }   which actions it changes; absent: all
--   xtls_tamper_after = 0                          how many sessions it leaves as they are
--   xtls_tamper_block = 20                         which block of each direction, from 1
--
-- Everything it did is logged as "tampered: ...".

local base64 = require "util.encodings".base64;
local id = require "util.id";
local st = require "util.stanza";

local xmlns_jingle = "urn:xmpp:jingle:1";
local xmlns_xtls = "urn:xmpp:jingle:security:xtls:0";
local xmlns_ext = "urn:xmpp:xtls:1";
local xmlns_ibb = "http://jabber.org/protocol/ibb";

local mode = module:get_option_string("xtls_tamper");
local actions = module:get_option_set("xtls_tamper_actions");
local after = module:get_option_number("xtls_tamper_after", 0);
local number = module:get_option_number("xtls_tamper_block", 20);
local fingerprint = module:get_option_string("xtls_tamper_fingerprint", ("ab"):rep(32));

local sessions = 0; -- that were offered
local jingle_sids = {}; -- by direction: the session that the client at its start takes part in
local blocks = {}; -- by direction: how many blocks it had
local held = {}; -- by direction: the block that waits for the next one
local forged = {}; -- by receiver and id: requests whose answer the sender must not see

local function direction(stanza) return stanza.attr.from .. "\0" .. stanza.attr.to; end
local function tampered(stanza, what) module:log("info", "tampered: %s (%s to %s)", what, stanza.attr.from, stanza.attr.to); end

-- deliver hands a stanza to its receiver, past this module. If it is a forged one, or
-- one that was answered here, the receiver's answer goes nowhere.
local function deliver(stanza, answered)
	if answered then forged[stanza.attr.to .. "\0" .. stanza.attr.id] = true; end
	module:send(stanza);
end

-- without removes the children of this name.
local function without(tag, name, xmlns)
	local found = false;
	tag:maptags(function (child)
		if child.name == name and child.attr.xmlns == xmlns then found = true; return nil; end
		return child;
	end);
	return found;
end

-- Each of these changes one <content/> and says whether it did.
local contents = {
	["strip-security"] = function (content) return without(content, "security", xmlns_xtls); end;
	["strip-binding"] = function (content)
		local security = content:get_child("security", xmlns_xtls);
		return security and without(security, "binding", xmlns_ext);
	end;
	["swap-fingerprint"] = function (content)
		local security = content:get_child("security", xmlns_xtls);
		local swapped = security and without(security, "fingerprint", xmlns_xtls);
		if swapped then
			security:add_direct_child(st.stanza("fingerprint", { xmlns = xmlns_xtls; algo = "sha-256" }):text(fingerprint));
		end
		return swapped;
	end;
	["redirect"] = function (content, action)
		local description = content:get_child("description", "urn:xmpp:xtls:tunnel:1");
		if description then description.attr.service = action == "session-initiate" and "other" or nil; end
		return description ~= nil;
	end;
};
contents["downgrade"] = function (content, action)
	return contents["redirect"](content, action) and contents["strip-binding"](content);
end;

-- forge_end tells the receiver of this block that the stream and the session are over.
local function forge_end(stanza, sid)
	local function iq(payload)
		return st.iq({ type = "set"; id = id.short(); from = stanza.attr.from; to = stanza.attr.to }):add_child(payload);
	end
	deliver(iq(st.stanza("close", { xmlns = xmlns_ibb; sid = sid })), true);
	local jingle = st.stanza("jingle", { xmlns = xmlns_jingle; action = "session-terminate"; sid = jingle_sids[direction(stanza)] })
		:tag("reason"):tag("success"):up():up();
	deliver(iq(jingle), true);
end

-- Each of these gets a block and its number, and says whether it has dealt with it.
local data = {
	["flip"] = function (_, stanza, tag, n)
		if n ~= number then return; end
		local octets = base64.decode(tag:get_text());
		local middle = math.floor(#octets / 2) + 1;
		local flipped = string.char((octets:byte(middle) + 1) % 256);
		for i = #tag, 1, -1 do tag[i] = nil; end
		tag:text(base64.encode(octets:sub(1, middle - 1) .. flipped .. octets:sub(middle + 1)));
		tampered(stanza, "octet altered");
	end;
	["replay"] = function (_, stanza, _, n)
		if n ~= number then return; end
		local again = st.clone(stanza);
		again.attr.id = id.short();
		deliver(stanza);
		deliver(again, true);
		tampered(stanza, "block repeated");
		return true;
	end;
	["drop"] = function (origin, stanza, _, n)
		if n ~= number then return; end
		origin.send(st.reply(stanza));
		tampered(stanza, "block dropped");
		return true;
	end;
	["reorder"] = function (origin, stanza, _, n)
		if n == number then
			held[direction(stanza)] = st.clone(stanza);
			origin.send(st.reply(stanza)); -- a sender that waits for the answer goes on
			return true;
		elseif n == number + 1 then
			deliver(stanza);
			deliver(held[direction(stanza)], true);
			tampered(stanza, "blocks exchanged");
			return true;
		end
	end;
	["truncate"] = function (origin, stanza, tag, n)
		if n < number then return; end
		origin.send(st.reply(stanza));
		if n == number then
			forge_end(stanza, tag.attr.sid);
			tampered(stanza, "end forged");
		end
		return true;
	end;
};

local function on_jingle(stanza, jingle)
	local there, back = direction(stanza), stanza.attr.to .. "\0" .. stanza.attr.from;
	jingle_sids[there], jingle_sids[back] = jingle.attr.sid, jingle.attr.sid;
	if jingle.attr.action == "session-initiate" then sessions = sessions + 1; end
	local change = contents[mode];
	if not change or sessions <= after or actions and not actions:contains(jingle.attr.action) then return; end
	for content in jingle:childtags("content", xmlns_jingle) do
		if change(content, jingle.attr.action) then tampered(stanza, mode .. " in " .. jingle.attr.action); end
	end
end

local function on_iq(event)
	local origin, stanza = event.origin, event.stanza;
	if stanza.attr.type == "result" or stanza.attr.type == "error" then
		local key = stanza.attr.from .. "\0" .. stanza.attr.id;
		local swallow = forged[key];
		forged[key] = nil;
		return swallow;
	end
	local jingle = stanza:get_child("jingle", xmlns_jingle);
	if jingle then return on_jingle(stanza, jingle); end
	local tag = stanza:get_child("data", xmlns_ibb);
	if tag and data[mode] then
		local d = direction(stanza);
		blocks[d] = (blocks[d] or 0) + 1;
		return data[mode](origin, stanza, tag, blocks[d]);
	end
end

module:hook("pre-iq/full", on_iq, 1000);
