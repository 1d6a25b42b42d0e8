// Order of search results: pages for users come before those for developers.
const FOR_USERS = /^(start|howto\/|magics|examples|gallery\/|troubleshooting)/;
const FOR_DEVELOPERS = /^(architecture|contributing|changes)/;

var Scorer = {
  score: ([docname, , , , score]) => {
    if (FOR_DEVELOPERS.test(docname)) return score - 100;
    return FOR_USERS.test(docname) ? score + (docname.startsWith("howto/") ? 20 : 10) : score;
  },
  // The values of Sphinx itself.
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
