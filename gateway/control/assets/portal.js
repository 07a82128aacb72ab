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

const drawChart = async (place, step) => {
  const response = await fetch(`${place.dataset.usage}?step=${step}`);
  if (!response.ok) return;
  const usage = await response.json();
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = { stroke: color('--soft'), grid: { stroke: color('--line'), width: 1 }, ticks: { stroke: color('--line'), width: 1 } };
  const options = {
    width: place.clientWidth,
    height: 240,
    scales: { y: { range: (_, min, max) => [0, Math.max(max, 5)] } },
    axes: [axis, axis],
    series: [
      {},
      { label: 'requests', stroke: color('--accent'), width: 2, fill: color('--accent') + '22' },
      { label: 'errors', stroke: color('--bad'), width: 2, dash: [6, 3] },
      { label: 'p50 ms', show: false, stroke: color('--good'), width: 2 },
      { label: 'p95 ms', show: false, stroke: color('--warn'), width: 2 },
    ],
  };
  place.replaceChildren();
  place.setAttribute('role', 'img');
  place.setAttribute('aria-label', `Requests and errors in each of the last 48 ${step}s`);
  new uPlot(options, [usage.at, usage.requests, usage.errors, usage.p50_ms, usage.p95_ms], place);
  const sum = (list) => list.reduce((total, value) => total + value, 0);
  const words = document.createElement('p');
  words.className = 'hint';
  words.textContent = `${sum(usage.requests)} requests, ${sum(usage.errors)} of them errors, in what is shown.`;
  place.after(words);
  place.words?.remove();
  place.words = words;
};

for (const place of document.querySelectorAll('[data-usage]')) {
  drawChart(place, 'hour');
  const step = document.querySelector('[data-step]');
  step?.addEventListener('change', () => {
    drawChart(place, step.value);
    for (const file of document.querySelectorAll('[data-csv]')) file.href = file.href.replace(/step=.*/, `step=${step.value}`);
  });
}
