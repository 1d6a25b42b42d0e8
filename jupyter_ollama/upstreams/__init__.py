"""Models of other servers, under the same names, rights and limits as those of this one."""
