DROP TABLE user_entitlements;
