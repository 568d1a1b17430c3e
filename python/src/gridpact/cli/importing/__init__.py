"""`gridpact import`: files of other programs as submissions, ready for `gridpact run`."""
