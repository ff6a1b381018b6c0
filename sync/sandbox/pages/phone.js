// SPDX-License-Identifier: Apache-2.0
// A customer's phone, the link switch, and what the branch's program got: asked for every second.
'use strict';

const PERIOD_MS = 1000;
const WEBHOOKS_SHOWN = 50;
const PHONES_SHOWN = 12;
const MARKS = { sent: '✓', delivered: '✓✓', read: '✓✓ read' };

const $ = (id) => document.getElementById(id);
let number = '';
let picked = false; // By the user; until then the latest phone is shown.
let shown = ''; // What the thread shows, to leave it alone while nothing changes.
let hookAfter = null;

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

async function ask(path, body) {
  const options = body ? { method: 'POST', body: JSON.stringify(body),
    headers: { 'Content-Type': 'application/json' } } : {};
  const response = await fetch(path, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error.error_data.details);
  return answer;
}

function complain(error) {
  $('trouble').textContent = error.message;
  $('trouble').hidden = false;
}

function time(ms) {
  return new Date(ms).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' });
}

// --- Bubbles ------------------------------------------------------------------------------------

function answerButton(message, title, reply) {
  const button = make('button', '', title);
  button.type = 'button';
  button.addEventListener('click', () => send({ ...reply, context: { id: message.id } }));
  return button;
}

function buttonReply(kind, { id, title, description }) {
  const reply = description ? { id, title, description } : { id, title };
  return { type: 'interactive', interactive: { type: kind, [kind]: reply } };
}

function fillHeader(bubble, header) {
  if (!header) return;
  bubble.append(make('p', 'head', header.text ?? `[${header.type}]`));
}

function fillInteractive(bubble, message, content) {
  const answers = make('div', 'answers');
  const action = content.action ?? {};
  fillHeader(bubble, content.header);
  bubble.append(make('p', '', content.body?.text ?? `[${content.type}]`));
  if (content.footer) bubble.append(make('p', 'foot', content.footer.text));
  for (const { reply } of action.buttons ?? [])
    if (reply) answers.append(answerButton(message, reply.title, buttonReply('button_reply', reply)));
  for (const section of action.sections ?? [])
    for (const row of section.rows ?? [])
      answers.append(answerButton(message, row.title, buttonReply('list_reply', row)));
  const label = action.parameters?.display_text ?? action.parameters?.flow_cta;
  if (label) answers.append(make('span', '', label));
  if (answers.children.length) bubble.append(answers);
}

function parameterText(parameter) {
  const value = parameter[parameter.type];
  if (typeof value === 'string') return value;
  return value?.fallback_value ?? value?.link ?? value?.id ?? JSON.stringify(value ?? parameter);
}

function fillTemplate(bubble, message, content) {
  const answers = make('div', 'answers');
  const list = make('dl');
  bubble.append(make('p', 'kind', `template ${content.name} (${content.language?.code})`));
  for (const component of content.components ?? []) {
    const type = String(component.type).toLowerCase();
    (component.parameters ?? []).forEach((parameter, i) => {
      const text = parameterText(parameter);
      if (type !== 'button') {
        list.append(make('dt', '', `${type} ${parameter.parameter_name ?? i + 1}`), make('dd', '', text));
      } else if (parameter.type === 'payload') {
        answers.append(answerButton(message, text, { type: 'button', button: { payload: text, text } }));
      } else {
        answers.append(make('span', '', `${component.sub_type}: ${text}`));
      }
    });
  }
  if (list.children.length) bubble.append(list);
  if (answers.children.length) bubble.append(answers);
}

function fillContent(bubble, message) {
  const body = message.body;
  const content = body[body.type];
  if (body.type === 'text') bubble.append(make('p', '', content.body));
  else if (body.type === 'interactive' && content.action) fillInteractive(bubble, message, content);
  else if (body.type === 'template') fillTemplate(bubble, message, content);
  else if (body.type === 'reaction') bubble.append(make('p', '', content.emoji || '(reaction removed)'));
  else if (body.type === 'interactive')
    bubble.append(make('p', '', (content.button_reply ?? content.list_reply ?? {}).title ?? '[interactive]'));
  else if (body.type === 'button') bubble.append(make('p', '', content.text));
  else {
    bubble.append(make('p', 'kind', body.type));
    const text = content?.caption ?? content?.filename ?? content?.link ?? JSON.stringify(content);
    bubble.append(make('p', '', text));
  }
}

function makeBubble(message, mine) {
  const bubble = make('li', mine ? 'bubble mine' : 'bubble');
  const last = ['read', 'delivered', 'sent'].find((status) => message.statuses[status]);
  try {
    fillContent(bubble, message);
  } catch {
    bubble.append(make('p', '', message.raw)); // A type that nobody knew when this was written.
  }
  bubble.append(make('span', 'at', time(message.at_ms) + (last ? ` ${MARKS[last]}` : '')));
  return bubble;
}

function showThread(answer) {
  const all = [...answer.messages.map((m) => [m, false]), ...answer.typed.map((m) => [m, true])]
    .sort((a, b) => a[0].n - b[0].n);
  const now = number + JSON.stringify(all.map(([m]) => [m.n, m.statuses]));
  const thread = $('thread');
  if (now === shown) return;
  shown = now;
  const atEnd = thread.scrollHeight - thread.scrollTop - thread.clientHeight < 80;
  thread.replaceChildren(...all.map(([m, mine]) => makeBubble(m, mine)));
  if (!all.length)
    thread.append(make('li', 'hint', number ? 'No message yet. Send one to this number, or type below.' :
      'No phone has got a message yet. Paste the printed curl line, or put in a number above.'));
  if (atEnd) thread.scrollTop = thread.scrollHeight;
}

function showPhones({ phones }) {
  if (!picked && !number && phones.length) choose(phones[0].number, false);
  $('numbers').replaceChildren(...phones.slice(0, 100).map((p) => {
    const option = make('option');
    option.value = p.number;
    return option;
  }));
  $('others').replaceChildren(...(phones.length < 2 ? [] : phones.slice(0, PHONES_SHOWN)).map((p) => {
    const button = make('button', '', `${p.number} (${p.received})`);
    button.type = 'button';
    button.setAttribute('aria-current', String(p.number === number));
    button.addEventListener('click', () => choose(p.number, true));
    return button;
  }));
}

// --- The link and the branch's program -----------------------------------------------------------

function showLink(link) {
  for (const button of $('link').children) {
    button.setAttribute('aria-pressed', String(button.dataset.state === link.state));
    button.disabled = link.state === 'off';
  }
  $('traffic').textContent = link.state === 'off' ? 'There is no link switch in this configuration.' :
    `${link.connections} connections; ${link.up_bytes.toLocaleString()} bytes up, ` +
    `${link.down_bytes.toLocaleString()} bytes down`;
}

function describe(body) {
  const value = body.entry?.[0]?.changes?.[0]?.value ?? {};
  const message = value.messages?.[0];
  const status = value.statuses?.[0];
  if (message) return `${message.type} from ${message.from}: ${message.text?.body ?? message.button?.text ??
    message.interactive?.button_reply?.title ?? message.interactive?.list_reply?.title ?? ''}`;
  if (status) return `${status.status} to ${status.recipient_id ?? status.recipient_user_id}` +
    (status.errors ? `: ${status.errors[0].code} ${status.errors[0].title ?? ''}` : '');
  return body.entry?.[0]?.changes?.[0]?.field ?? 'webhook';
}

function makeWebhook(webhook) {
  const item = make('li');
  const details = make('details');
  const summary = make('summary');
  let text = webhook.body ?? '';
  let what = 'not JSON';
  try {
    const body = JSON.parse(webhook.body);
    text = JSON.stringify(body, null, 2);
    what = describe(body);
  } catch { /* Shown as it is. */ }
  summary.append(make('time', '', time(webhook.at_ms)));
  if (!webhook.signature_ok) summary.append(make('span', 'bad', 'bad signature '));
  summary.append(what);
  details.append(summary, make('pre', '', text));
  item.append(details);
  return item;
}

async function showWebhooks() {
  if (hookAfter === null) {
    // Only the last are wanted, however many there were before this page was opened.
    const { newest } = await ask('/hook/received?after=0&limit=0');
    hookAfter = Math.max(0, newest - WEBHOOKS_SHOWN);
  }
  const answer = await ask(`/hook/received?after=${hookAfter}`);
  if (answer.newest < hookAfter) { // The sandbox was started again.
    hookAfter = 0;
    return;
  }
  hookAfter = answer.last;
  for (const webhook of answer.webhooks) $('webhooks').prepend(makeWebhook(webhook));
  while ($('webhooks').children.length > WEBHOOKS_SHOWN) $('webhooks').lastChild.remove();
  $('none').hidden = $('webhooks').children.length > 0;
}

// --- What the user does ---------------------------------------------------------------------------

function choose(to, byUser) {
  number = String(to).replace(/\D/g, '').slice(0, 15);
  picked = picked || byUser;
  $('number').value = number ? `+${number}` : '';
  refresh();
}

async function send(message) {
  if (!number) {
    complain(new Error("Put in the customer's number first."));
    return;
  }
  try {
    await ask(`/phone/${number}/messages`, message);
    await refresh();
    $('thread').scrollTop = $('thread').scrollHeight;
  } catch (error) {
    complain(error);
  }
}

let busy = false;
async function refresh() {
  if (busy) return;
  busy = true;
  try {
    showPhones(await ask('/phones'));
    const asked = number;
    const thread = asked ? await ask(`/phone/${asked}/messages`) : { messages: [], typed: [] };
    if (asked === number) showThread(thread);
    showLink(await ask('/link'));
    await showWebhooks();
    $('trouble').hidden = true;
  } catch (error) {
    complain(error instanceof TypeError ? new Error('The sandbox does not answer.') : error);
  } finally {
    busy = false;
  }
}

$('choose').addEventListener('submit', (event) => {
  event.preventDefault();
  choose($('number').value, true);
});
$('number').addEventListener('change', () => choose($('number').value, true));
$('write').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = $('text').value;
  if (!text.trim()) return;
  $('text').value = '';
  send({ text });
});
for (const button of $('link').children)
  button.addEventListener('click', async () => {
    try {
      showLink(await ask('/link', { state: button.dataset.state }));
    } catch (error) {
      complain(error);
    }
  });

refresh();
setInterval(refresh, PERIOD_MS);
