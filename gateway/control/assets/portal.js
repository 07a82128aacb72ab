// What pages do beyond links and forms: copying, the code of an invitation, charts. All of them work without it, but for charts.
'use strict';

document.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  const text = document.getElementById(button.dataset.copy).textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
  } catch {
    const range = document.createRange();
    range.selectNodeContents(document.getElementById(button.dataset.copy));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    button.textContent = 'Selected: copy it';
  }
});

// The code of an invitation stands behind the `#`, which browsers do not send. It leaves the address as soon as it is in its field.
for (const field of document.querySelectorAll('[data-from-fragment]')) {
  if (location.hash.length > 1) {
    field.value = location.hash.slice(1);
    history.replaceState(null, '', location.pathname);
  }
}

// A link is given to somebody else, so it needs the name of this host.
for (const link of document.querySelectorAll('[data-origin]')) {
  link.textContent = location.origin + link.textContent;
}

const answer = document.getElementById('answer');
if (answer) answer.focus();

const figure = (value) => (value === null ? '\u2013' : String(value));

// The same numbers in words, for whoever does not see the chart.
const writeUsage = (usage, step) => {
  for (const place of document.querySelectorAll('[data-figures]')) place.textContent = `The last 48 ${step}s`;
  for (const place of document.querySelectorAll('[data-total]')) place.textContent = figure(usage.total[place.dataset.total]);
  const rows = document.querySelector('[data-usage-rows]');
  if (!rows) return;
  const row = (texts) => {
    const line = document.createElement('tr');
    for (const text of texts) line.insertCell().textContent = text;
    return line;
  };
  const at = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 16).replace('T', ' ') + ' UTC';
  const used = usage.at.map((_, n) => n).filter((n) => usage.requests[n] > 0).reverse();
  rows.replaceChildren(...used.map((n) => row([at(usage.at[n]), usage.requests[n], usage.errors[n], figure(usage.p50_ms[n]), figure(usage.p95_ms[n])])));
  if (used.length === 0) {
    const none = row([`No use in the last 48 ${step}s.`]);
    none.cells[0].colSpan = 5;
    rows.append(none);
  }
};

const drawChart = async (place, step) => {
  const response = await fetch(`${place.dataset.usage}?step=${step}`);
  if (!response.ok) return;
  const usage = await response.json();
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = { stroke: color('--soft'), grid: { stroke: color('--line'), width: 1 }, ticks: { stroke: color('--line'), width: 1 } };
  const from0 = (_, min, max) => [0, Math.max(max, 5)];
  const options = {
    width: place.clientWidth,
    height: 240,
    scales: { y: { range: from0 }, ms: { range: from0 } },
    axes: [axis, axis, { ...axis, scale: 'ms', side: 1, grid: { show: false }, values: (_, ticks) => ticks.map((tick) => `${tick} ms`), size: 60 }],
    series: [
      {},
      { label: 'requests', stroke: color('--accent'), width: 2, fill: color('--accent') + '22' },
      { label: 'errors', stroke: color('--bad'), width: 2, dash: [6, 3] },
      { label: 'p50 ms', scale: 'ms', stroke: color('--good'), width: 2, dash: [2, 2], points: { show: true } },
      { label: 'p95 ms', scale: 'ms', stroke: color('--warn'), width: 2, dash: [10, 3], points: { show: true } },
    ],
  };
  place.replaceChildren();
  place.setAttribute('role', 'img');
  place.setAttribute('aria-label', `Requests, errors, p50 and p95 in each of the last 48 ${step}s; the table below has the numbers`);
  new uPlot(options, [usage.at, usage.requests, usage.errors, usage.p50_ms, usage.p95_ms], place);
  writeUsage(usage, step);
};

for (const place of document.querySelectorAll('[data-usage]')) {
  drawChart(place, 'hour');
  const step = document.querySelector('[data-step]');
  step?.addEventListener('change', () => {
    drawChart(place, step.value);
    for (const file of document.querySelectorAll('[data-csv]')) file.href = file.href.replace(/step=.*/, `step=${step.value}`);
  });
}
